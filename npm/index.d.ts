/**
 * Priority lanes for asynchronous work.
 *
 * A lane is a named queue with a priority, a concurrency limit and policies. The most urgent lane with work that may
 * run always goes next.
 *
 * @packageDocumentation
 */

export * from './error.js';
export * from './event.js';
export * from './handle.js';
export * from './handler.js';
export * from './lane.js';
export * from './settings.js';
export * from './state.js';
export * from './storage.js';
