// The same module as `require` gives, so that `instanceof` holds between CommonJS and ES modules.
import lane from './index.js';

export const { Lane, LaneError, inspect } = lane;
export default lane;
