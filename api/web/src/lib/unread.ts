/** Whether a conversation moved after this browser last showed it. Never opened here counts as unread only while it needs somebody. */
export function isUnread(session: { updatedAt: string; state: string }, readAt: string): boolean {
  if (readAt === '') return session.state === 'needs_input'
  return session.updatedAt > readAt
}
