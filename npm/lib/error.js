'use strict';

/**
 * Every failure of a lane or a command. `code` says what kind, in the same words in all languages of a3s-lane.
 */
class LaneError extends Error {
  constructor(message, code, options) {
    super(message);
    this.code = code;
    // By hand: Node 16.0 to 16.8 do not know the option.
    if (options !== undefined && options !== null && 'cause' in options) hidden(this, 'cause', options.cause);
  }

  /** An error that stops retries: the command fails for good at this attempt. */
  static unrecoverable(message, options) {
    return new LaneError(message, 'UNRECOVERABLE', options);
  }
}
hidden(LaneError.prototype, 'name', 'LaneError');

function hidden(object, name, value) {
  Object.defineProperty(object, name, { value, configurable: true, writable: true });
}

/** The native half's codes look like this; Node-API's own, such as `StringExpected`, do not. */
const OWN_CODE = /^[A-Z][A-Z_]*$/;

/** Calls into the native half; its errors become `LaneError`. */
function native(work) {
  try {
    return work();
  } catch (error) {
    throw translated(error);
  }
}

/** An error of the native half as the user sees it. */
function translated(error) {
  const own = error instanceof Error && !(error instanceof LaneError) && OWN_CODE.test(error.code);
  return own ? new LaneError(error.message, error.code) : error;
}

/** The value of an outcome of asynchronous native work; an outcome with a code is a rejection. */
async function settled(promise) {
  const outcome = await promise;
  if (outcome.code !== undefined) throw new LaneError(outcome.message, outcome.code);
  return outcome.value;
}

/** Whether it is one, also of what cannot be looked at, such as a revoked proxy. */
function isLaneError(thrown) {
  try {
    return thrown instanceof LaneError;
  } catch {
    return false;
  }
}

/** The code of a `LaneError` that was thrown; undefined of anything else. */
function codeOf(thrown) {
  try {
    return thrown instanceof LaneError ? String(thrown.code) : undefined;
  } catch {
    return undefined;
  }
}

/** The text of whatever was thrown. */
function messageOf(thrown) {
  try {
    return String(thrown instanceof Error ? thrown.message : thrown);
  } catch {
    return 'an error that cannot be told as text';
  }
}

/** The most characters of a stack that are kept. */
const STACK = 16_384;

/** Where it was thrown, as text; undefined when it does not say. */
function stackOf(thrown) {
  try {
    const { stack } = thrown;
    return typeof stack === 'string' ? stack.slice(0, STACK) : undefined;
  } catch {
    return undefined;
  }
}

module.exports = { LaneError, codeOf, isLaneError, messageOf, native, settled, stackOf, translated };
