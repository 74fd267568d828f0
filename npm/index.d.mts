import * as lane from './index.js';

export * from './index.js';
export default lane;
