// Asks for the versions of the runs that panels on this page show, and has a panel drawn again when its own differ.
// One question for all panels of a run; every other second while a program is at work, rarely otherwise, never if hidden.

const LIVE_SECONDS = 2
const QUIET_SECONDS = 5

const watchers = (window.darkroomWatchers ??= new Map()) // node → {run, parts, drawn, seconds, again, tell, since, told}
const runs = (window.darkroomVersions ??= new Map()) // name → {versions, live, tag, asked}

async function ask(name) {
  const run = runs.get(name) ?? { versions: null, live: false, tag: "", asked: -Infinity }
  runs.set(name, run)
  const seconds = run.live ? LIVE_SECONDS : QUIET_SECONDS
  if (performance.now() - run.asked < 1000 * seconds) return
  run.asked = performance.now()
  const answer = await fetch(`versions/${encodeURIComponent(name)}.json`, { cache: "no-store", headers: run.tag ? { "If-None-Match": run.tag } : {} })
  if (!answer.ok) return
  run.tag = answer.headers.get("ETag") ?? ""
  Object.assign(run, await answer.json())
}

function isConnected() {
  return document.querySelector("[data-test-connection-state]")?.dataset.testConnectionState === "CONNECTED"
}

function check(watcher) {
  const { run, parts, drawn, seconds, again, told } = watcher
  const waited = (performance.now() - watcher.since) / 1000
  const versions = runs.get(run)?.versions
  const found = versions ? parts.map((part) => versions[part]).join("-") : drawn
  const isChanged = found !== drawn && found !== told && waited >= seconds
  if (!isChanged && !(again && waited >= again)) return
  watcher.since = performance.now()
  watcher.told = found
  watcher.tell(`${found} ${watcher.since}`)
}

function tick() {
  if (document.hidden || !watchers.size || !isConnected()) return
  for (const name of new Set([...watchers.values()].map(({ run }) => run))) ask(name).catch(() => {}) // the bar says so
  for (const watcher of watchers.values()) check(watcher)
}

window.darkroomWatching ??= setInterval(tick, 500)

export default function ({ data, parentElement, setTriggerValue }) {
  const node = parentElement.querySelector(".darkroom-watch")
  const before = watchers.get(node)
  const isNew = !before || before.drawn !== data.drawn || before.run !== data.run
  watchers.set(node, {
    ...data,
    since: isNew ? performance.now() : before.since,
    told: isNew ? undefined : before.told,
    tell: (version) => setTriggerValue?.("changed", version),
  })
  return () => watchers.delete(node)
}
