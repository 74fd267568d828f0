'use strict';

/**
 * Every failure of a lane or a command. `code` says what kind, in the same words in all languages of a3s-lane.
 */
class LaneError extends Error {
  constructor(message, code) {
    super(message);
    this.code = code;
  }
}
Object.defineProperty(LaneError.prototype, 'name', { value: 'LaneError', configurable: true, writable: true });

/** The native half's codes look like this; Node-API's own, such as `StringExpected`, do not. */
const OWN_CODE = /^[A-Z][A-Z_]*$/;

/** Calls into the native half; its errors become `LaneError`. */
function native(work) {
  try {
    return work();
  } catch (error) {
    if (error instanceof Error && OWN_CODE.test(error.code)) throw new LaneError(error.message, error.code);
    throw error;
  }
}

/** The value of an outcome of asynchronous native work; an outcome with a code is a rejection. */
async function settled(promise) {
  const outcome = await promise;
  if (outcome.code !== undefined) throw new LaneError(outcome.message, outcome.code);
  return outcome.value;
}

module.exports = { LaneError, native, settled };
