// What the browser API says, as the UI names it: aliases of the schemas in `generated.ts`.

import type { components } from '~/api/generated'

type Schemas = components['schemas']

export type Accepted = Schemas['Accepted']
export type Problem = Schemas['Problem']
export type SignedIn = Schemas['SignedIn']
export type CodingAgentKind = Schemas['CodingAgentKind']
export type CodingAgent = Schemas['CodingAgent']
export type Credential = Schemas['Credential']
export type Profile = Schemas['Profile']
export type Permissions = Schemas['Permissions']
export type ProjectDefaults = Schemas['ProjectDefaults']
export type Project = Schemas['Project']
export type Stage = Schemas['Stage']
export type Idea = Schemas['Idea']
export type StepName = Schemas['StepName']
export type StepState = Schemas['StepState']
export type Step = Schemas['Step']
export type ExecutionState = Schemas['ExecutionState']
export type Commit = Schemas['Commit']
export type FileChange = Schemas['FileChange']
export type ExecutionResult = Schemas['ExecutionResult']
export type ExecutionEvent = Schemas['ExecutionEvent']
export type Execution = Schemas['Execution']
export type Timeline = Schemas['Timeline']
export type Phase = Schemas['TimelinePhase']
export type PhaseName = Schemas['TimelinePhaseName']
export type PhaseState = Schemas['TimelinePhaseState']
export type TimelineEvent = Schemas['TimelineEntry']
export type TimelineKind = Schemas['TimelineKind']
export type Moment = Schemas['ExecutionAt']
export type AggregateState = Schemas['AggregateAt']
export type ActivityPage = Schemas['Activity']
export type ActivityEntry = Schemas['ActivityEntry']
export type SearchPage = Schemas['SearchPage']
export type SearchHit = Schemas['SearchHit']
export type SessionState = Schemas['SessionState']
export type Session = Schemas['Session']
export type TextKind = Schemas['TextKind']
export type MessageItem = Extract<Item, { item: 'message' }>
export type ToolCallStatus = Schemas['ToolCallStatus']
export type ToolCallItem = Extract<Item, { item: 'tool_call' }>
export type PlanEntry = Schemas['PlanEntry']
export type PlanItem = Extract<Item, { item: 'plan' }>
export type PermissionOption = Schemas['PermissionOption']
export type PermissionItem = Extract<Item, { item: 'permission' }>
export type TurnEndItem = Extract<Item, { item: 'turn_end' }>
export type NoticeItem = Extract<Item, { item: 'notice' }>
export type Item = Schemas['Item']
export type ItemPage = Schemas['ItemPage']
export type NodeState = Schemas['NodeState']
export type WorkspaceState = Schemas['WorkspaceState']
export type BootLogEntry = Schemas['BootLogEntry']
export type Workspace = Schemas['Workspace']
export type StartChoices = Schemas['StartChoices']
export type ServerFrame = Schemas['ServerFrame']
export type OpenMessage = Schemas['OpenMessage']
export type ClientFrame = Schemas['ClientFrame']
export type NodeView = Schemas['Node']
export type * from '~/api/coming'
