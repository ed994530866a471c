/** What both entries give out beside `Towerlog`. */

export type { RequestOptions } from "./api/client.js";
export type { FollowOptions } from "./api/follow.js";
export type { CreatedRun, Gap, InputOptions, NewRun, RunDetail, RunEvent, RunFilters, RunRow } from "./api/types.js";
export type { Overflow } from "./record/backlog.js";
export type { AskOptions, CallOptions, CheckpointOptions, ModelCallMembers, RunOptions } from "./record/options.js";
export type { Status } from "./record/recorder.js";
export { Run } from "./record/run.js";
export { ModelCall, Step, ToolCall } from "./record/spans.js";
export type { TowerlogOptions } from "./towerlog.js";
export type { Usage } from "./values/usage.js";
export { type OwnCode, TowerlogError } from "./wire/errors.js";
export type { Fetch } from "./wire/http.js";
