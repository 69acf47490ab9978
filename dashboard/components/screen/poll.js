// What the page shows comes as JSON documents by URL. One clock asks for all of them: often while a program is at work,
// rarely otherwise, never for a hidden tab. What has not changed is not sent again.

import { post } from "./post.js"

const LIVE_SECONDS = 2
const QUIET_SECONDS = 15
const TOLD_SECONDS = 20

const documents = new Set() // those that somebody follows
let timer

// One document. Its listeners get {content, trouble: {error, hint}, isOffline} for every change.
export class Feed {
  // isMoving(content): whether it changes soon; it is asked for every `live` seconds then, else every `quiet` ones.
  constructor(isMoving, { live = LIVE_SECONDS, quiet = QUIET_SECONDS } = {}) {
    this.isMoving = isMoving
    this.seconds = { live, quiet }
    this.listeners = new Set()
    this.url = ""
    this.forget()
  }

  forget() {
    this.state = { content: null, trouble: null, isOffline: false }
    this.tag = "" // the version of what was said last
  }

  // Another document from now on. isOther: nothing of the one before is worth showing meanwhile.
  ask(url, isOther = false) {
    if (url === this.url) return
    this.url = url
    if (isOther) {
      this.forget()
      this.tell({})
    }
    this.tag = ""
    this.look()
  }

  // Returns what ends it.
  follow(listener) {
    this.listeners.add(listener)
    documents.add(this)
    if (this.state.content || this.state.trouble) listener(this.state)
    wind()
    return () => {
      this.listeners.delete(listener)
      if (!this.listeners.size) documents.delete(this)
    }
  }

  async look() {
    if (!this.url || document.hidden) return
    this.due = Infinity // until there is an answer
    if (!navigator.onLine) return this.tell({ isOffline: true })
    this.asking?.abort()
    const current = (this.asking = new AbortController())
    try {
      const headers = this.tag ? { "If-None-Match": this.tag } : {}
      const answer = await fetch(this.url, { cache: "no-store", headers, signal: current.signal })
      if (answer.status !== 304) await this.take(answer, current)
      else if (this.state.isOffline) this.tell({ isOffline: false })
    } catch {
      if (current.signal.aborted) return
      this.tell({ isOffline: true })
    }
    if (current === this.asking) this.wait()
  }

  async take(answer, current) {
    const said = await answer.json().catch(() => ({ error: `${answer.status} ${answer.statusText}`, hint: "" }))
    if (current !== this.asking) return
    this.tag = answer.ok ? (answer.headers.get("ETag") ?? "") : ""
    this.tell(answer.ok ? { content: said, trouble: null, isOffline: false } : { trouble: said, isOffline: false })
  }

  tell(changes) {
    this.state = { ...this.state, ...changes }
    for (const listener of this.listeners) {
      try {
        listener(this.state)
      } catch (error) {
        reportError(error) // what one cannot draw must not keep the others from the next answer
      }
    }
  }

  wait() {
    const { content, isOffline } = this.state
    const isMoving = isOffline || (content && this.isMoving(content))
    this.due = performance.now() + 1000 * (isMoving ? this.seconds.live : this.seconds.quiet)
    wind()
  }
}

function wind() {
  clearTimeout(timer)
  if (document.hidden) return
  const next = Math.min(...[...documents].map(({ due }) => due ?? Infinity))
  if (next < Infinity) timer = setTimeout(tick, Math.max(0, next - performance.now()))
}

function tick() {
  const now = performance.now() + 50 // what is due at nearly the same time is asked for at once
  for (const one of documents) if (one.due <= now) one.look()
  wind()
}

// The address of a document: what is null or undefined is left out; the time zone is the browser's.
export function address(path, question) {
  const query = new URLSearchParams({ zone: Intl.DateTimeFormat().resolvedOptions().timeZone ?? "UTC" })
  for (const [name, value] of Object.entries(question)) if (value !== null && value !== undefined) query.set(name, value)
  return `${path}?${query}`
}

// The first screen, which the bar and other parts of the page show too.
const screen = new Feed(({ live, verdict }) => live || verdict.downloads.some(({ state }) => state === "making"))
let question = {} // run, lang, left, right

// Show another run, or other pictures of it.
export function ask(changes) {
  const { run, ...rest } = { ...question, ...changes }
  const isOther = run !== question.run
  question = { run, ...rest }
  screen.ask(address(`screen/${encodeURIComponent(run)}.json`, rest), isOther)
}

// listener({screen, trouble, isOffline, refusal}) for every change; returns what ends it.
export function follow(listener) {
  return screen.follow(({ content, ...rest }) => listener({ screen: content, ...rest }))
}

export const look = () => screen.look()

// Ask the programs of the run, or the server, for something: {do: "stop", run_id}, … What became of it is in the next
// document; why nothing did is told for a while as `refusal`: {error}, or null where the server did not answer.
export async function request(what) {
  screen.tell({ refusal: undefined })
  const said = await send(what)
  if (said && !said.error) return
  screen.tell({ refusal: said })
  setTimeout(() => screen.state.refusal === said && screen.tell({ refusal: undefined }), 1000 * TOLD_SECONDS)
}

// The same, of which nobody is told.
export async function send(what) {
  const { run, lang } = question
  const said = await post(`control/${encodeURIComponent(run)}.json?${new URLSearchParams({ lang })}`, what)
  await look()
  return said
}

const lookAtAll = () => documents.forEach((one) => one.look())
addEventListener("online", lookAtAll)
document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : lookAtAll()))
