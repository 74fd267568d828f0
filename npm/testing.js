'use strict';

const check = require('./lib/check.js');
const { native, settled } = require('./lib/error.js');
const { nativeOf } = require('./lib/lane.js');

async function submitScripted(lane, laneId, commandType, script) {
  check.string('laneId', laneId);
  check.string('commandType', commandType);
  const text = check.string('script (as JSON)', JSON.stringify(script));
  return JSON.parse(await settled(native(() => nativeOf(lane).submitScripted(laneId, commandType, text))));
}

module.exports = { submitScripted };
