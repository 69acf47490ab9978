// Draws the bar and the first screen, or all runs, before Streamlit is there, with what server/early.py wrote into the page, where they
// stand later. The components take over what stands here, as it is (dom.js: rootOf). What they have no place for goes.

import { bar } from "./bar.js"
import { make } from "./dom.js"
import { follow } from "./poll.js"
import { runs } from "./runs.js"
import { screen } from "./screen.js"

const DRAWN = { screen, runs, bar }
const KEYS = { screen: "first_screen", runs: "runs", bar: "bar" } // of Streamlit's containers
const HAS_RUN = "[data-test-script-state=notRunning] [data-testid=stElementContainer]"

const { lang, ...given } = JSON.parse(document.getElementById("darkroom-given").textContent)
document.documentElement.lang = lang
const all = make("div")
all.id = "darkroom-early"
document.body.append(all)

const parts = Object.entries(given).map(([name, data]) => {
  const part = make("div", name, make("div", `darkroom-${name}`))
  all.append(part)
  const leave = DRAWN[name]({ data, parentElement: part, setTriggerValue: (_, asked) => Object.assign(part, { asked }) })
  return { part, key: KEYS[name], leave }
})

function remove({ part, leave }) {
  leave()
  part.remove()
}

const leftOver = () => parts.filter(({ part }) => part.isConnected)

// Only Python knows what to say of a run that cannot be shown.
const unfollow = follow(({ trouble }) => trouble && leftOver().forEach(remove))

const watch = setInterval(() => {
  if (document.querySelector(HAS_RUN)) leftOver().filter(({ key }) => !document.querySelector(`.st-key-${key}`)).forEach(remove)
  if (leftOver().length) return
  unfollow()
  all.remove()
  clearInterval(watch)
}, 200)
