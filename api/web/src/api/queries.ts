// What the pages read. The query cache is the only state of the UI besides the address.

import {
  infiniteQueryOptions,
  keepPreviousData,
  queryOptions,
  useMutation,
  type UseMutationResult,
  useQueryClient,
} from '@tanstack/react-query'
import { ProblemError, read, readText, write } from '~/api/client'
import { keys } from '~/api/keys'
import type * as Api from '~/api/types'
import {
  EMPTY_TRANSCRIPT,
  oldestPosition,
  type Transcript,
  withLatestPage,
  withOlderPage,
} from '~/lib/transcript'
import { endpoints } from '~/paths'

const PAGE_ITEMS = 100
const TIMELINE_PERIOD_MS = 2_000
const HEADS_PERIOD_MS = 10_000
const PROJECTIONS_PERIOD_MS = 30_000
const MENDING_PERIOD_MS = 2_000
/** How many positions after a message may be on the page that begins with it: fewer than a page has items. */
const AFTER_MESSAGE = 40

/** Lists that are read backwards: each page says where the next one ends. */
const BY_POSITION = {
  initialPageParam: 0,
  getNextPageParam: (page: { next?: number | null }) => page.next ?? undefined,
}

function pageAddress(address: string, query: Record<string, string>, before: number): string {
  return `${address}?${new URLSearchParams({ ...query, ...(before > 0 && { before: String(before) }) })}`
}

export const signedInQuery = queryOptions({
  queryKey: keys.signedIn(),
  queryFn: ({ signal }) => read<Api.SignedIn>(endpoints.signedIn(), signal),
})

export const agentsQuery = queryOptions({
  queryKey: keys.agents(),
  queryFn: ({ signal }) => read<Api.CodingAgent[]>(endpoints.agents(), signal),
})

export const credentialsQuery = queryOptions({
  queryKey: keys.credentials(),
  queryFn: ({ signal }) => read<Api.Credential[]>(endpoints.credentials(), signal),
})

export const projectsQuery = queryOptions({
  queryKey: keys.projects(),
  queryFn: ({ signal }) => read<Api.Project[]>(endpoints.projects(), signal),
})

export const projectQuery = (project: string) =>
  queryOptions({
    queryKey: keys.project(project),
    queryFn: ({ signal }) => read<Api.Project>(endpoints.project(project), signal),
  })

export const variablesQuery = (project: string) =>
  queryOptions({
    queryKey: keys.variables(project),
    queryFn: ({ signal }) => read<Api.Variable[]>(endpoints.variables(project), signal),
  })

export const ideasQuery = (project: string) =>
  queryOptions({
    queryKey: keys.ideas(project),
    queryFn: ({ signal }) => read<Api.Idea[]>(endpoints.ideas(project), signal),
  })

export const ideaQuery = (idea: string) =>
  queryOptions({
    queryKey: keys.idea(idea),
    queryFn: ({ signal }) => read<Api.Idea>(endpoints.idea(idea), signal),
  })

export const executionQuery = (execution: string) =>
  queryOptions({
    queryKey: keys.execution(execution),
    queryFn: ({ signal }) => read<Api.Execution>(endpoints.execution(execution), signal),
  })

export const timelineQuery = (execution: string) =>
  queryOptions({
    queryKey: keys.timeline(execution),
    queryFn: ({ signal }) =>
      read<Api.Timeline>(endpoints.executionTimeline(execution), signal),
    // Some of what happens to nodes and processes is announced without its execution.
    refetchInterval: ({ state }) => (state.data?.endedAt ? false : TIMELINE_PERIOD_MS),
  })

/** What everything was like at a position: that never changes, so it is asked for once. */
export const momentQuery = (execution: string, position: number) =>
  queryOptions({
    queryKey: keys.moment(execution, position),
    queryFn: ({ signal }) => read<Api.Moment>(endpoints.moment(execution, position), signal),
    staleTime: Number.POSITIVE_INFINITY,
  })

export const activityQuery = (project: string) =>
  infiniteQueryOptions({
    queryKey: keys.activity(project),
    queryFn: ({ signal, pageParam }) =>
      read<Api.ActivityPage>(pageAddress(endpoints.activity(project), {}, pageParam), signal),
    ...BY_POSITION,
  })

/** `filter` is the query as the API takes it. */
export const auditEntriesQuery = (filter: string) =>
  infiniteQueryOptions({
    queryKey: keys.audit(filter),
    queryFn: ({ signal, pageParam }) =>
      read<Api.AuditPage>(
        pageAddress(endpoints.audit(), Object.fromEntries(new URLSearchParams(filter)), pageParam),
        signal,
      ),
    placeholderData: keepPreviousData,
    staleTime: 0,
    ...BY_POSITION,
  })

export const auditHeadsQuery = queryOptions({
  queryKey: keys.auditHeads(),
  queryFn: ({ signal }) => read<Api.AuditHeads>(endpoints.auditHeads(), signal),
  refetchInterval: HEADS_PERIOD_MS,
})

export const projectionsQuery = queryOptions({
  queryKey: keys.projections(),
  queryFn: ({ signal }) => read<Api.Projections>(endpoints.projections(), signal),
  // No event says that one was parked; soon again while one is or is being mended.
  refetchInterval: ({ state }) =>
    state.data?.projections.some((projection) => projection.state !== 'running')
      ? MENDING_PERIOD_MS
      : PROJECTIONS_PERIOD_MS,
})

/** Messages that hold all words of the text. */
export const searchQuery = (text: string, project: string) =>
  infiniteQueryOptions({
    queryKey: keys.search(text, project),
    queryFn: ({ signal, pageParam }) =>
      read<Api.SearchPage>(
        pageAddress(endpoints.search(), { q: text, ...(project && { project }) }, pageParam),
        signal,
      ),
    enabled: hasWords(text),
    placeholderData: keepPreviousData,
    staleTime: 0,
    ...BY_POSITION,
  })

/** Whether there is anything to look for. */
export function hasWords(text: string): boolean {
  return /[\p{L}\p{N}]/u.test(text)
}

export const diffQuery = (execution: string) =>
  queryOptions({
    queryKey: keys.diff(execution),
    queryFn: async ({ signal }) =>
      (await readText(endpoints.executionDiff(execution), signal)) ?? null,
    staleTime: Number.POSITIVE_INFINITY,
  })

export const sessionsQuery = (project: string) =>
  queryOptions({
    queryKey: keys.sessions(project),
    queryFn: ({ signal }) => read<Api.Session[]>(endpoints.sessions(project), signal),
  })

export const sessionQuery = (session: string) =>
  queryOptions({
    queryKey: keys.session(session),
    queryFn: ({ signal }) => read<Api.Session>(endpoints.session(session), signal),
  })

export const transcriptQuery = (session: string) =>
  queryOptions({
    queryKey: keys.items(session),
    queryFn: async ({ signal, client }) => {
      const page = await read<Api.ItemPage>(
        `${endpoints.sessionItems(session)}?limit=${PAGE_ITEMS}`,
        signal,
      )
      // Read after the await: live frames went on arriving meanwhile.
      const known = client.getQueryData<Transcript>(keys.items(session))
      return withLatestPage(known ?? EMPTY_TRANSCRIPT, page)
    },
    // While a conversation is open it is streamed; nobody streams it while it is closed.
    staleTime: Number.POSITIVE_INFINITY,
    refetchOnMount: 'always',
    structuralSharing: false,
  })

/** The part of a conversation around a message, for when it is too far back to be reached from the end. */
export const transcriptAroundQuery = (session: string, position: number) =>
  queryOptions({
    queryKey: keys.itemsAround(session, position),
    queryFn: async ({ signal }) => {
      const page = await read<Api.ItemPage>(
        `${endpoints.sessionItems(session)}?limit=${PAGE_ITEMS}&before=${position + AFTER_MESSAGE}`,
        signal,
      )
      return withLatestPage(EMPTY_TRANSCRIPT, page)
    },
    staleTime: Number.POSITIVE_INFINITY,
    structuralSharing: false,
  })

export const nodesQuery = queryOptions({
  queryKey: keys.nodes(),
  queryFn: ({ signal }) => read<Api.NodeView[]>(endpoints.nodes(), signal),
})

export const workspacesQuery = queryOptions({
  queryKey: keys.workspaces(),
  queryFn: ({ signal }) => read<Api.Workspace[]>(endpoints.workspaces(), signal),
})

export const workspaceQuery = (workspace: string) =>
  queryOptions({
    queryKey: keys.workspace(workspace),
    queryFn: ({ signal }) => read<Api.Workspace>(endpoints.workspace(workspace), signal),
  })

/** Fetches what is before the oldest known item of a conversation, or of the part around a position. */
export function useOlderItems(session: string, around?: number) {
  const cache = useQueryClient()
  const key = around === undefined ? keys.items(session) : keys.itemsAround(session, around)
  return useMutation({
    mutationFn: async () => {
      const known = cache.getQueryData<Transcript>(key)
      const before = known === undefined ? undefined : oldestPosition(known)
      if (before === undefined) return
      const page = await read<Api.ItemPage>(
        `${endpoints.sessionItems(session)}?before=${before}&limit=${PAGE_ITEMS}`,
      )
      cache.setQueryData<Transcript>(key, (current) =>
        withOlderPage(current ?? EMPTY_TRANSCRIPT, page),
      )
    },
  })
}

/** One write; afterwards the named queries are read again, and see it. */
export function useWrite<Input, Output = Api.Accepted>(
  send: (input: Input) => Promise<Output>,
  touched: readonly (readonly string[])[] = [],
): UseMutationResult<Output, Error, Input> {
  const cache = useQueryClient()
  return useMutation({
    mutationFn: send,
    onSuccess: () => {
      for (const queryKey of touched) void cache.invalidateQueries({ queryKey })
    },
  })
}

export const writes = {
  signIn: (token: string) => write<Partial<Api.Accepted>>('POST', endpoints.signInLink(), { token }),
  signOut: () => write<Partial<Api.Accepted>>('POST', endpoints.signOut()),
  saveCredential: ({ kind, secret }: { kind: string; secret: string }) =>
    write('PUT', endpoints.credential(kind), { secret }),
  removeCredential: (kind: string) => write('DELETE', endpoints.credential(kind)),
  createProject: (project: { id: string; repository: string; name?: string }) =>
    write('POST', endpoints.projects(), project),
  changeProject: ({
    project,
    ...change
  }: {
    project: string
    name?: string
    defaults?: Api.ProjectDefaults
  }) => write('PATCH', endpoints.project(project), change),
  setVariable: ({
    project,
    name,
    ...body
  }: {
    project: string
    name: string
    value: string
    isSecret: boolean
  }) => write('PUT', endpoints.variable(project, name), body),
  removeVariable: ({ project, name }: { project: string; name: string }) =>
    write('DELETE', endpoints.variable(project, name)),
  submitIdea: ({
    project,
    ...idea
  }: {
    project: string
    idea: string
    description: string
    stage: 'exploring' | 'ready' | 'executing'
  } & Api.StartChoices) => write('POST', endpoints.ideas(project), idea),
  changeIdea: ({
    idea,
    ...change
  }: {
    idea: string
    description?: string
    stage?: 'exploring' | 'ready' | 'parked'
  }) => write('PATCH', endpoints.idea(idea), change),
  execute: ({ idea, ...start }: { idea: string; execution: string } & Api.StartChoices) =>
    write('POST', endpoints.ideaExecutions(idea), start),
  cancel: (execution: string) => write('POST', endpoints.cancelExecution(execution)),
  answerInput: ({ execution, choice }: { execution: string; choice: 'continue' | 'park' }) =>
    write('POST', endpoints.executionInput(execution), { choice }),
  sendMessage: ({ session, ...body }: { session: string; message: string; text: string }) =>
    write('POST', endpoints.sessionMessages(session), body),
  answerPermission: ({
    session,
    request,
    option,
  }: {
    session: string
    request: string
    option: string
  }) => write('POST', endpoints.permission(session, request), { option }),
  eraseProject: ({ project, confirm }: { project: string; confirm: string }) =>
    write('DELETE', endpoints.project(project), { confirm }),
  eraseAccount: (confirm: string) => write('DELETE', endpoints.account(), { confirm }),
  verifyAudit: () => write<Api.AuditVerdict & Partial<Api.Accepted>>('POST', endpoints.verifyAudit()),
  retryProjection: (name: string) => write<Partial<Api.Accepted>>('POST', endpoints.retryProjection(name)),
  rebuildProjection: (name: string) =>
    write<Partial<Api.Accepted>>('POST', endpoints.rebuildProjection(name)),
  stopNode: (node: string) => write('POST', endpoints.stopNode(node)),
}

/** Repeats a read that may succeed next time; a refusal is final. */
export function isWorthRepeating(n: number, error: Error): boolean {
  return n < 3 && (!(error instanceof ProblemError) || error.isTransient)
}

export function isSignedOut(error: unknown): boolean {
  return error instanceof ProblemError && error.problem.status === 401
}
