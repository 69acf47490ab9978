// What the signs of the filmstrip mean: those that occur on it, in a panel that opens over it.

import { attach, button, fit, make, set, show, write } from "./dom.js"

export const RESULTS = { better: "▲", same: "=", worse: "▼" }
export const MARKS = { best: "★", flagged: "⚠", starred: "☆", averaged: "x̄", voted: "✓" }

export class Legend {
  constructor() {
    this.opener = button("signs")
    write(this.opener, "?")
    this.list = make("ul")
    this.panel = attach(this.opener, make("div", "signs-panel", this.list))
    set(this.panel, "role", "group")
  }

  draw(strip, words) {
    const found = signsOf(strip, words.meanings)
    set(this.opener, "aria-label", words.signs)
    set(this.opener, "title", words.signs)
    set(this.panel, "aria-label", words.signs)
    show(this.opener, found.length)
    fit(this.list, found.length, () => make("li", "", make("b"), make("span"))).forEach((line, index) => {
      const [sign, meaning] = found[index]
      write(line.children[0], sign)
      write(line.children[1], meaning)
    })
  }
}

function signsOf(strip, meanings) {
  const won = strip.find(({ of }) => of)
  return [
    ...Object.keys(RESULTS).filter((name) => strip.some((cell) => cell.mark === name)).map((name) => [RESULTS[name], meanings[name]]),
    ...(won ? [[`${won.wins}/${won.of}`, meanings.won]] : []),
    ...Object.keys(MARKS).filter((name) => strip.some((cell) => cell[name])).map((name) => [MARKS[name], meanings[name]]),
  ]
}
