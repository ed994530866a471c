/** Names for what the API answers, as its description has them. */

import type { components, operations } from './schema';

type Schemas = components['schemas'];

export type Run = Schemas['RunDetail'];
export type Found = Schemas['FoundWords'];
export type RunTree = Schemas['RunTree'];
export type LoggedEvent = Schemas['LoggedEvent'];
export type Outline = Schemas['RunOutline'];
export type Approval = Schemas['OpenApproval'];
export type Agent = Schemas['Agent'];
export type Thread = Schemas['Thread'];
export type Worker = Schemas['Worker'];
export type Lane = Schemas['LaneState'];
export type Budget = Schemas['Budget'];
export type Alert = Schemas['Alert'];
export type AlertRule = Schemas['AlertRule'];
export type Delivery = Schemas['Delivery'];
export type Persona = Schemas['Persona'];
export type AuditEntry = Schemas['AuditEntry'];
export type AuditAction = NonNullable<NonNullable<operations['native.list_audit']['parameters']['query']>['action']>;
export type ApiKey = Schemas['ApiKey'];
export type UsageTotal = Schemas['UsageTotal'];
export type RunSum = Schemas['RunSum'];
export type Who = Schemas['SessionDetail'];
export type Organisation = Schemas['OrganisationDetail'];
export type RemovedOrganisation = Schemas['OrganisationRemoved'];
export type SignedIn = Schemas['Session'];
export type Member = Schemas['Member'];
export type Role = Member['role'];
export type Retention = Schemas['Retention'];
export type RetentionDue = Schemas['RetentionDue'];
export type Erasure = Schemas['Erasure'];
export type Checkpoint = Schemas['Checkpoint'];
export type CheckpointState = Schemas['CheckpointState'];
