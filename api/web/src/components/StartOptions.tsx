import { useQuery } from '@tanstack/react-query'
import { useId } from 'react'
import { agentsQuery } from '~/api/queries'
import type { CodingAgent, CodingAgentKind, Permissions, Profile, Project, StartChoices } from '~/api/types'
import { DemoNote } from '~/components/DemoLabel'
import { SelectField } from '~/ui/Field'

export const PROFILE_OPTIONS: { value: Profile; label: string }[] = [
  { value: 'full', label: 'Full (devcontainer)' },
  { value: 'lightweight', label: 'Lightweight' },
]

export const PERMISSION_OPTIONS: { value: Permissions; label: string }[] = [
  { value: 'allow', label: 'Allow and record' },
  { value: 'ask', label: 'Ask me' },
]

/** Agent, profile, base branch and permissions of one execution, in a row; empty means the project's default. */
export function StartOptions({
  project,
  choices,
  onChange,
}: {
  project: Project
  choices: StartChoices
  onChange: (choices: StartChoices) => void
}) {
  const branchId = useId()
  const agents = useQuery(agentsQuery).data ?? []
  const chosen = useChosenAgent(project, choices)
  return (
    <>
      <SelectField
        isCompact
        label="Agent"
        value={chosen?.kind ?? ''}
        options={agents.map((agent) => ({
          value: agent.kind,
          label: agentLabel(agent),
          isBlocked: !agent.isAvailable,
        }))}
        onChange={(value) => {
          const agent = agents.find(({ kind }) => kind === value)
          if (agent !== undefined) onChange({ ...choices, codingAgent: agent.kind })
        }}
      />
      <SelectField
        isCompact
        label="Profile"
        value={choices.profile ?? project.defaults.profile}
        options={PROFILE_OPTIONS}
        onChange={(value) => onChange({ ...choices, profile: value === 'full' ? 'full' : 'lightweight' })}
      />
      <SelectField
        isCompact
        label="Permissions"
        value={choices.permissions ?? project.defaults.permissions}
        options={PERMISSION_OPTIONS}
        onChange={(value) => onChange({ ...choices, permissions: value === 'ask' ? 'ask' : 'allow' })}
      />
      <div className="field field-compact">
        <label htmlFor={branchId}>Base branch</label>
        <input
          id={branchId}
          value={choices.baseBranch ?? ''}
          placeholder="default"
          autoCapitalize="none"
          spellCheck={false}
          onChange={(event) => {
            const { baseBranch: _, ...others } = choices
            const baseBranch = event.target.value.trim()
            onChange(baseBranch === '' ? others : { ...others, baseBranch })
          }}
        />
      </div>
    </>
  )
}

/** Stands under the composer as long as the demo would run. */
export function DemoHint({ project, choices }: { project: Project; choices: StartChoices }) {
  return useChosenAgent(project, choices)?.isDemo === true ? <DemoNote /> : null
}

/** Explicit, else the project's default, else the first real agent that can run, else the demo. */
export function useChosenAgent(project: Project, choices: StartChoices): CodingAgent | undefined {
  const agents = useQuery(agentsQuery).data ?? []
  const find = (kind: CodingAgentKind | null | undefined) =>
    agents.find((agent) => agent.kind === kind && agent.isAvailable)
  return (
    find(choices.codingAgent) ??
    find(project.defaults.codingAgent) ??
    agents.find((agent) => agent.isAvailable && !agent.isDemo) ??
    agents.find((agent) => agent.isAvailable)
  )
}

export function agentLabel(agent: CodingAgent): string {
  if (agent.isDemo) return agent.name.toLowerCase().includes('demo') ? agent.name : `${agent.name} (demo)`
  return agent.isAvailable ? agent.name : `${agent.name} (needs ${agent.needs ?? 'setting up'})`
}
