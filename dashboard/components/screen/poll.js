// One document for the whole page: the bar and the first screen show what the server said last.
// It is asked for every other second while a program is at work, rarely otherwise, and never by a hidden tab.

const LIVE_SECONDS = 2
const QUIET_SECONDS = 15

const listeners = new Set()
let question = {} // run, lang, left, right
let state = { screen: null, trouble: null, isOffline: false }
let tag = "" // the version of what was said last
let asking // the request under way
let timer

// Show another run, or other pictures of it.
export function ask(changes) {
  const wanted = { ...question, ...changes }
  if (JSON.stringify(wanted) === JSON.stringify(question)) return
  if (wanted.run !== question.run) state = { screen: null, trouble: null, isOffline: false }
  question = wanted
  tag = ""
  look()
}

// listener({screen, trouble: {error, hint}, isOffline}) for every change; returns what ends it.
export function follow(listener) {
  listeners.add(listener)
  if (state.screen || state.trouble) listener(state)
  return () => listeners.delete(listener)
}

export async function look() {
  clearTimeout(timer)
  if (!question.run || document.hidden) return
  if (!navigator.onLine) return tell({ isOffline: true })
  asking?.abort()
  const current = (asking = new AbortController())
  try {
    const headers = tag ? { "If-None-Match": tag } : {}
    const answer = await fetch(address(), { cache: "no-store", headers, signal: current.signal })
    if (answer.status !== 304) await take(answer, current)
    else if (state.isOffline) tell({ isOffline: false })
  } catch {
    if (current.signal.aborted) return
    tell({ isOffline: true })
  }
  if (current === asking) timer = setTimeout(look, 1000 * (isMoving() ? LIVE_SECONDS : QUIET_SECONDS))
}

async function take(answer, current) {
  const said = await answer.json().catch(() => ({ error: `${answer.status} ${answer.statusText}`, hint: "" }))
  if (current !== asking) return
  tag = answer.ok ? (answer.headers.get("ETag") ?? "") : ""
  tell(answer.ok ? { screen: said, trouble: null, isOffline: false } : { trouble: said, isOffline: false })
}

function tell(changes) {
  state = { ...state, ...changes }
  for (const listener of listeners) {
    try {
      listener(state)
    } catch (error) {
      reportError(error) // what one cannot draw must not keep the others from the next answer
    }
  }
}

function isMoving() {
  const { screen, isOffline } = state
  return isOffline || screen?.live || screen?.verdict.downloads.some((download) => download.state === "making")
}

function address() {
  const { run, ...rest } = question
  const query = new URLSearchParams({ zone: Intl.DateTimeFormat().resolvedOptions().timeZone ?? "UTC" })
  for (const [name, value] of Object.entries(rest)) if (value !== null && value !== undefined) query.set(name, value)
  return `screen/${encodeURIComponent(run)}.json?${query}`
}

addEventListener("online", look)
document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : look()))
