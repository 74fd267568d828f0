'use strict';

/** A handler that runs `handler` inside of `middleware`, of which the first is the outermost. */
function around(middleware, handler) {
  const from = (index) => (payload, context) => {
    if (index === middleware.length) return handler(payload, context);
    let called = false;
    const next = async (...changed) => {
      // A second run would share the attempt's context and end with the first: the lane's retries are for that.
      if (called) throw new Error('next() was called before in this middleware');
      called = true;
      return from(index + 1)(changed.length === 0 ? payload : changed[0], context);
    };
    // Without `this`, as handlers are called.
    return (0, middleware[index])(payload, context, next);
  };
  return from(0);
}

module.exports = { around };
