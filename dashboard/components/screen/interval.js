// An interval of differences as a bar against zero, the line of the base model; to the right is better.

import { make, set } from "./dom.js"

const MARGIN = 0.04

export const makeInterval = () => make("span", "interval", make("i", "zero"), make("i", "range"), make("i", "dot"))

// value → place in percent, one scale for all of these {low, high}.
export function scaleOf(values) {
  const ends = values.flatMap(({ low, high }) => [low ?? 0, high ?? 0])
  const least = Math.min(0, ...ends)
  const most = Math.max(0, ...ends, least + 1e-9)
  const room = MARGIN * (most - least)
  return (value) => (100 * (value - least + room)) / (most - least + 2 * room)
}

// What has no interval has no bar.
export function drawInterval(node, { delta, low, high }, place, title) {
  const isKnown = delta !== null && low !== null && high !== null
  node.style.visibility = isKnown ? "visible" : "hidden"
  if (!isKnown) return
  const [zero, range, dot] = node.children
  const put = (part, name, value) => {
    const text = `${value.toFixed(2)}%`
    if (part.style[name] !== text) part.style[name] = text
  }
  put(zero, "left", place(0))
  put(range, "left", place(low))
  put(range, "width", place(high) - place(low))
  put(dot, "left", place(delta))
  if (!title) return // what stands beside it says the same
  set(node, "role", "img")
  set(node, "aria-label", title)
  set(node, "title", title)
}
