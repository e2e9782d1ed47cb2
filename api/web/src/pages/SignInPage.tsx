import { useQueryClient } from '@tanstack/react-query'
import { useEffect, useState } from 'react'
import { useLocation, useNavigate } from 'react-router'
import { ProblemError } from '~/api/client'
import { writes } from '~/api/queries'
import { paths } from '~/paths'
import { useTitle } from '~/ui/Page'
import { Note, ProblemNote, Waiting } from '~/ui/Notes'

type Progress = { at: 'no link' } | { at: 'signing in' } | { at: 'refused'; error: Error }

/** Opens with the link that SAM prints; the token after `#` never reaches a server's log. */
export function SignInPage() {
  useTitle('Sign in')
  const { hash, search } = useLocation()
  const token = hash.slice(1)
  return (
    <main className="lonely">
      <img src="/icon.svg" alt="" width="40" height="40" />
      <h1>Sign in to SAM</h1>
      {token === '' && new URLSearchParams(search).has('erased') ? (
        <Note icon="key">
          <p>
            <strong>Your account is being erased,</strong> and you are signed out. Whoever signs in
            next has a new account: <code>sam sign-in</code> prints a link.
          </p>
        </Note>
      ) : (
        <SignIn key={token} token={token} />
      )}
    </main>
  )
}

/** Links are used once: a token is posted once, however often the page is drawn. */
const posted = new Map<string, Promise<unknown>>()

function SignIn({ token }: { token: string }) {
  const navigate = useNavigate()
  const cache = useQueryClient()
  const [progress, setProgress] = useState<Progress>(
    token === '' ? { at: 'no link' } : { at: 'signing in' },
  )
  // Signing in happens by arriving here: there is nothing to press.
  useEffect(() => {
    if (token === '') return
    let isHere = true
    const attempt = posted.get(token) ?? writes.signIn(token)
    posted.set(token, attempt)
    const finish = async () => {
      try {
        await attempt
        cache.clear()
        if (isHere) await navigate(paths.dashboard(), { replace: true })
      } catch (error) {
        if (isHere && error instanceof Error) setProgress({ at: 'refused', error })
      }
    }
    void finish()
    return () => {
      isHere = false
    }
  }, [token, navigate, cache])

  switch (progress.at) {
    case 'signing in':
      return <Waiting>Signing in with your link</Waiting>
    case 'no link':
      return (
        <Note icon="key">
          <p>
            Open the sign-in link that SAM printed in its terminal when it started. It works once;
            each start prints a new one.
          </p>
        </Note>
      )
    case 'refused':
      if (progress.error instanceof ProblemError && progress.error.problem.status === 401) {
        return (
          <Note tone="wait" icon="key">
            <p>
              <strong>This link does not work any more.</strong> It was used before, or it belongs to
              an earlier start of SAM.
            </p>
            <p>Start SAM again for a new link, and open that one.</p>
          </Note>
        )
      }
      return <ProblemNote error={progress.error} retry={() => location.reload()} />
  }
}
