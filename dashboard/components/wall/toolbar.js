// The bar over the wall: A and B, the order of the prompts, how A and B are compared, the size and the zoom.

import { button, fit, make, set, show, write } from "./dom.js"
import { MODES } from "./cell.js"
import { fill } from "./lens.js"

export const SORTS = ["prompts", "improved", "worst", "lost"]
export const SIZES = { small: "300px", medium: "430px", large: "880px" }

export class Toolbar {
  constructor(wall) {
    this.wall = wall
    this.left = new Picker("A", (step) => wall.choose({ left: step }))
    this.right = new Picker("B", (step) => wall.choose({ right: step }))
    this.swap = button("swap", () => wall.swap())
    this.sides = make("div", "sides", this.left.root, this.swap, this.right.root)
    this.sortName = make("span")
    this.sort = make("select")
    this.sort.onchange = () => wall.choose({ sort: this.sort.value })
    this.sorted = make("label", "sort", this.sortName, this.sort)
    this.modes = make("div", "choice modes")
    this.sizes = make("div", "choice sizes")
    this.zoomOut = button("", () => wall.zoom.out())
    this.zoomed = make("output")
    this.zoomIn = button("", () => wall.zoom.in())
    this.keys = make("details", "keys", make("summary"), make("p"))
    const zoom = make("span", "zoom", this.zoomOut, this.zoomed, this.zoomIn)
    this.tools = make("div", "tools", this.sorted, this.modes, this.sizes, zoom, this.keys)
    this.root = make("div", "bar", this.sides, this.tools)
    for (const group of [this.sides, this.modes, this.sizes]) set(group, "role", "group")
  }

  draw() {
    const { wall } = this
    const { words, drawn } = wall.data
    show(this.sides, drawn.length)
    show(this.sorted, drawn.length)
    set(this.sides, "aria-label", words.sides)
    this.left.draw(drawn, wall.left, words)
    this.right.draw(drawn, wall.right, words)
    write(this.swap, "⇄")
    set(this.swap, "aria-label", words.swap)
    set(this.swap, "title", words.swap)
    this.swap.disabled = wall.right === null
    write(this.sortName, words.sort)
    fillOptions(this.sort, SORTS.map((name) => [name, words[name]]), wall.sort)
    set(this.modes, "aria-label", words.compare)
    fill(this.modes, MODES, (mode) => ({ text: words[mode], isPressed: mode === wall.mode, act: () => wall.show({ mode }) }))
    set(this.sizes, "aria-label", words.size)
    fill(this.sizes, Object.keys(SIZES), (size) => ({ text: words[size], isPressed: size === wall.size, act: () => wall.show({ size }) }))
    write(this.zoomOut, "−")
    write(this.zoomIn, "+")
    set(this.zoomOut, "aria-label", words.zoomOut)
    set(this.zoomIn, "aria-label", words.zoomIn)
    write(this.zoomed, wall.zoom.text)
    write(this.keys.firstElementChild, words.keys)
    write(this.keys.lastElementChild, words.keysText)
  }
}

class Picker {
  constructor(letter, choose) {
    this.letter = letter
    this.choose = choose
    this.select = make("select")
    this.select.onchange = () => choose(Number(this.select.value))
    this.earlier = button("near earlier")
    this.later = button("near later")
    this.root = make("span", `side ${letter.toLowerCase()}`, make("label", "", make("b", "", letter), this.select), this.earlier, this.later)
  }

  draw(drawn, step, words) {
    fillOptions(this.select, drawn.map((one) => [one.step, one.label]), step)
    set(this.select, "aria-label", this.letter)
    const at = drawn.findIndex((one) => one.step === step)
    for (const [node, sign, name, near] of [[this.earlier, "‹", words.earlier, drawn[at - 1]], [this.later, "›", words.later, drawn[at + 1]]]) {
      write(node, sign)
      set(node, "aria-label", name.replace("{side}", this.letter))
      set(node, "title", name.replace("{side}", this.letter))
      node.disabled = !near
      node.onclick = () => this.choose(near.step)
    }
  }
}

// options: [value, text].
function fillOptions(select, options, chosen) {
  fit(select, options.length, () => make("option")).forEach((node, index) => {
    const [value, text] = options[index]
    set(node, "value", value)
    write(node, text)
  })
  select.value = chosen ?? ""
}
