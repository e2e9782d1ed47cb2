import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { useNavigate } from 'react-router'
import { keys } from '~/api/keys'
import { sessionsQuery, useWrite, writes } from '~/api/queries'
import type { Project, StartChoices } from '~/api/types'
import { Composer } from '~/components/Composer'
import { DemoHint, StartOptions, useChosenAgent } from '~/components/StartOptions'
import { newId } from '~/lib/id'
import { remember } from '~/lib/storage'
import { paths } from '~/paths'
import { Icon } from '~/ui/Icon'

/** Ideas to start with: the second shows what the demo agent can do. */
export const SAMPLE_IDEAS = [
  { label: 'Look round this repository', text: 'Look round this repository and write a short note about it.' },
  {
    label: 'See a plan, a question and a change',
    text: [
      'plan: Look round; Write a file; Run a check',
      'say: I will add a greeting and check it.',
      'write HELLO.md: Hello from SAM.',
      'ask: May I run the check?',
      'run: cat HELLO.md',
      'say: Done. See `HELLO.md`.',
    ].join('\n'),
  },
] as const

/** Where an idea is written and sent off in one step. */
export function NewIdea({ project }: { project: Project }) {
  const navigate = useNavigate()
  const [choices, setChoices] = useState<StartChoices>({})
  const draftName = `project.${project.id}`
  // One id for one idea: sending again after a lost connection must not make two.
  const [idea, setIdea] = useState(newId)
  // What is shown is what is sent, so that a default changed elsewhere surprises nobody.
  const agent = useChosenAgent(project, choices)
  const submit = useWrite(writes.submitIdea, [
    keys.sessions(project.id),
    keys.ideas(project.id),
    keys.projects(),
  ])
  const send = async (description: string) => {
    try {
      const accepted = await submit.mutateAsync({
        project: project.id,
        idea,
        description,
        stage: 'executing',
        ...choices,
        ...(agent === undefined ? {} : { codingAgent: agent.kind }),
      })
      setIdea(newId())
      await navigate(
        accepted.session ? paths.session(project.id, accepted.session) : paths.ideas(project.id),
      )
      return true
    } catch {
      return false // Shown above the composer; the draft stays.
    }
  }
  return (
    <section className="new-idea">
      <div className="new-idea-middle">
        <h2>What should be done?</h2>
        <p className="soft">
          SAM clones <code>{project.repository}</code> into a container, runs a coding agent on your
          idea and pushes the result to a branch of its own.
        </p>
        <SampleIdeas project={project.id} pick={(text) => remember(`draft.${draftName}`, text)} />
      </div>
      <div className="dock">
        <DemoHint project={project} choices={choices} />
        <Composer
          draftName={draftName}
          label="Your idea"
          placeholder="Describe the change you want"
          sendLabel="Send"
          isSending={submit.isPending}
          error={submit.error}
          send={send}
          options={<StartOptions project={project} choices={choices} onChange={setChoices} />}
        />
      </div>
    </section>
  )
}

function SampleIdeas({ project, pick }: { project: string; pick: (text: string) => void }) {
  const sessions = useQuery(sessionsQuery(project)).data
  if (sessions === undefined || sessions.length > 2) return null
  return (
    <ul className="samples" aria-label="Sample ideas">
      {SAMPLE_IDEAS.map(({ label, text }) => (
        <li key={label}>
          <button
            type="button"
            className="sample"
            data-nav
            onClick={() => {
              pick(text)
              document.querySelector<HTMLTextAreaElement>('[data-composer]')?.focus()
            }}
          >
            <Icon name="edit" />
            {label}
          </button>
        </li>
      ))}
    </ul>
  )
}
