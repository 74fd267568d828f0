'use strict';

// What objects have, for controls.test.js: also the context of a handler in a thread.

/** The members of an object beyond those that every object has: by their names, each with its parameters. */
function members(object) {
  const found = {};
  for (let each = object; each && each !== Object.prototype && each !== Function.prototype; each = Object.getPrototypeOf(each)) {
    for (const key of Reflect.ownKeys(each)) {
      const { value } = Object.getOwnPropertyDescriptor(each, key);
      const name = typeof key === 'symbol' ? described(key) : key;
      if (!(name in found)) found[name] = typeof value === 'function' ? parameters(value) : [];
    }
  }
  return found;
}

/** Its description is not the same in all versions of Node.js. */
function described(symbol) {
  return symbol === Symbol.asyncDispose ? 'Symbol.asyncDispose' : symbol.description;
}

/** The names of the parameters, as they are written. */
function parameters(call) {
  const [, list] = /^[^(]*\(([^)]*)\)/.exec(String(call));
  return list.split(',').map((each) => each.split('=')[0].trim()).filter((each) => each !== '');
}

/** A handler. */
function ofContext(_, ctx) {
  return members(Object.getPrototypeOf(ctx));
}

/** A handler that gives one sign of life, between two times that it is told. */
function beats(turns, ctx) {
  Atomics.store(turns, 0, 1);
  Atomics.wait(turns, 1, 0);
  ctx.heartbeat();
  Atomics.store(turns, 0, 2);
  Atomics.wait(turns, 1, 1);
  return 'alive';
}

/** A handler that ends when it hears that it must. */
function hears(_, { signal }) {
  return new Promise((resolve) => {
    const end = () => resolve(signal.reason.code);
    if (signal.aborted) end();
    else signal.addEventListener('abort', end);
  });
}

module.exports = { beats, hears, members, ofContext, parameters };
