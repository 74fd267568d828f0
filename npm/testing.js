'use strict';

const check = require('./lib/check.js');
const { native, settled } = require('./lib/error.js');
const { enqueue, enqueueMany, nativeOf } = require('./lib/lane.js');
const { submitOptions } = require('./lib/settings.js');

function scriptText(script) {
  return check.string('script (as JSON)', JSON.stringify(script));
}

function scripted(commandType, script, options) {
  return {
    commandType: check.string('commandType', commandType),
    payload: scriptText(script),
    scripted: true,
    options: check.optional(submitOptions, 'options', options),
  };
}

async function submitScripted(lane, laneId, commandType, script) {
  check.string('laneId', laneId);
  check.string('commandType', commandType);
  const text = scriptText(script);
  return JSON.parse(await settled(native(() => nativeOf(lane).submitScripted(laneId, commandType, text))));
}

function enqueueScripted(lane, laneId, commandType, script, options) {
  check.string('laneId', laneId);
  return enqueue(lane, laneId, scripted(commandType, script, options));
}

function submitManyScripted(lane, laneId, commands) {
  check.string('laneId', laneId);
  const each = ({ commandType, script, options }) => scripted(commandType, script, options);
  return enqueueMany(lane, laneId, check.array('commands', commands).map(each));
}

module.exports = { enqueueScripted, submitManyScripted, submitScripted };
