'use strict';

// What keeps the process alive, and with it the objects that somebody waits for.

// Node's own: a test may put others in the place of the global ones.
const { setInterval } = require('timers');

const holders = new Set();
let keeper;

/** Keeps the process, and `holder`, until `release`. */
function hold(holder) {
  if (holders.size === 0) {
    // A timer is what Node offers to JavaScript for this; it never gets to ring.
    if (keeper === undefined) keeper = setInterval(() => {}, 2 ** 31 - 1);
    else keeper.ref();
  }
  holders.add(holder);
}

function release(holder) {
  if (holders.delete(holder) && holders.size === 0) keeper.unref();
}

module.exports = { hold, release };
