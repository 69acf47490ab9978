// Votes on their way. They are kept in the browser until the server has them, so that a reload loses none; a vote that
// arrives twice counts once.

const RETRY_SECONDS = 3

export class Outbox {
  // take(answer) gets what the server says to each vote, refuse(sentence) why it did not take one, tell(count) how many wait.
  constructor(run, lang, { take, refuse, tell }) {
    this.key = `darkroom-votes-${run}`
    this.url = `votes/${encodeURIComponent(run)}.json?lang=${encodeURIComponent(lang)}`
    this.hear = { take, refuse, tell }
    this.isOpen = true
  }

  get waiting() {
    try {
      return JSON.parse(localStorage.getItem(this.key)) ?? []
    } catch {
      return []
    }
  }

  set waiting(votes) {
    if (votes.length) localStorage.setItem(this.key, JSON.stringify(votes))
    else localStorage.removeItem(this.key)
  }

  put(vote) {
    this.waiting = [...this.waiting, vote]
    return this.send()
  }

  // One at a time, in order: a vote must be there before it can be taken back.
  send() {
    this.sending ??= this.sendAll().finally(() => (this.sending = null))
    return this.sending
  }

  async sendAll() {
    while (this.isOpen && this.waiting.length) {
      const [vote] = this.waiting
      const answer = await this.post(vote)
      if (!answer) {
        this.hear.tell(this.waiting.length)
        await new Promise((wake) => setTimeout(wake, 1000 * RETRY_SECONDS))
        continue
      }
      this.waiting = this.waiting.filter((one) => one.id !== vote.id || one.answer !== vote.answer) // another tab may have added some
      this.hear.tell(0)
      const said = await answer.json().catch(() => ({ error: `${answer.status} ${answer.statusText}` }))
      if (answer.ok) this.hear.take(said, vote)
      else this.hear.refuse(said.error)
    }
  }

  // null: not now. A fault of the server or of the disk may pass; what is wrong with a vote does not.
  async post(vote) {
    try {
      const body = JSON.stringify({ ...vote, pending: [...this.waiting.map(({ id }) => id), ...(this.pending?.() ?? [])] })
      const answer = await fetch(this.url, { method: "POST", headers: { "Content-Type": "application/json" }, body })
      return answer.status >= 500 || answer.status === 401 ? null : answer
    } catch {
      return null
    }
  }

  close() {
    this.isOpen = false
  }
}
