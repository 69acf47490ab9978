// Draws the bar and the main part of a page before Streamlit is there, with what server/early.py wrote into the page, where they
// stand later. The components take over what stands here, as it is (dom.js: rootOf). What they have no place for goes.

import { make } from "./dom.js"
import { follow } from "./poll.js"

const HAS_RUN = "[data-test-script-state=notRunning] [data-testid=stElementContainer]"

const { lang, parts } = JSON.parse(document.getElementById("darkroom-given").textContent)
document.documentElement.lang = lang
const all = make("div")
all.id = "darkroom-early"
document.body.append(all)

// name: of the component and its module; key: of the container that Streamlit will have for it.
const drawn = parts.map(({ name, key, data }) => {
  const node = make("div", name, make("div", `darkroom-${name}`))
  node.asked = new Map() // kind → what a person asked for last; of every kind Python hears at once
  all.append(node)
  const part = { node, key, leave: () => {} }
  const setTriggerValue = (_, asked) => {
    node.asked.delete(asked.do) // so that the last one comes last
    node.asked.set(asked.do, asked)
  }
  import(`./${name}.js`).then((module) => {
    if (node.isConnected) part.leave = module[name]({ data, parentElement: node, setTriggerValue })
  })
  return part
})

function remove({ node, leave }) {
  leave()
  node.remove()
}

const leftOver = () => drawn.filter(({ node }) => node.isConnected)

// Only Python knows what to say of a run that cannot be shown.
const unfollow = follow(({ trouble }) => trouble && leftOver().forEach(remove))

const watch = setInterval(() => {
  if (document.querySelector(HAS_RUN)) leftOver().filter(({ key }) => !document.querySelector(`.st-key-${key}`)).forEach(remove)
  if (leftOver().length) return
  unfollow()
  all.remove()
  clearInterval(watch)
}, 200)
