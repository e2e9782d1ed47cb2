// What the API answers about the audit, until the server's own description of it is in `generated.ts`.

export interface AuditEntry {
  position: number
  at: string
  actor: string
  kind: string
  stream: string
  sequence: number
  event: string
  summary: string
  command: string
  cause?: { position: number } | { command: string } | null
  project?: string | null
}
export interface AuditPage {
  entries: AuditEntry[]
  next?: number | null
}
export interface AuditHeads {
  installation: string
  epoch: number
  publicKey: string
  newest?: { position: number; at: string; hash: string; signature: string } | null
  nHeads: number
  nUnprotected: number
  headPosition: number
  writtenTo?: string | null
}
export interface AuditFinding {
  kind: 'changed' | 'removed' | 'inserted' | 'reordered' | 'cut' | 'head'
  position?: number | null
  stream?: string | null
  what: string
}
export interface AuditVerdict {
  isIntact: boolean
  nEvents: number
  nStreams: number
  nHeads: number
  nUnprotected: number
  findings: AuditFinding[]
  nMore: number
  notes: string[]
  limits: string[]
}
