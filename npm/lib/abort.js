'use strict';

/** Aborts a controller; its signal has the error as `reason`, also before Node.js 16.14, where signals have none of their own. */
function abort(controller, error) {
  const { signal } = controller;
  if (!signal.aborted && !('reason' in signal)) Object.defineProperty(signal, 'reason', { value: error });
  controller.abort(error);
}

module.exports = { abort };
