// The table of all snapshots. Data: {run, lang, step, order, words}; see __init__.py. How each stands comes from the first
// screen's document, its numbers from `snapshots/<run>.json`. A click on a row opens it below or beside the table.

import { button, fit, make, mark, mount, set, show, showImage, write } from "./dom.js"
import { drawInterval, makeInterval, scaleOf } from "./interval.js"
import { address, ask, Feed, follow } from "./poll.js"

const SIGNS = { better: "▲", same: "=", worse: "▼" }
const FIXED = 3 // columns before those of the numbers: step, verdict, prompts won
const PARTS = ["snapshots", "metrics", "notes"] // of the run folder, which the numbers come from

class Snapshots {
  constructor(root) {
    this.root = root
    this.head = make("tr")
    this.body = make("tbody")
    this.planned = make("tbody", "planned")
    this.table = make("table", "", make("thead", "", this.head), this.body, this.planned)
    this.scroller = make("div", "scroller", this.table)
    this.order = make("select")
    this.order.onchange = () => this.sortBy(this.order.value)
    this.orderName = make("span")
    this.scale = make("p", "scale")
    root.append(make("label", "sorted", this.orderName, this.order), this.scroller, this.scale)
    this.body.onkeydown = (event) => this.press(event)
    this.numbers = new Feed(() => false, { quiet: Infinity }) // asked for again when one of its parts has changed
    const stop = [follow((state) => this.hear(state)), this.numbers.follow(({ content }) => this.take(content))]
    this.leave = () => stop.forEach((end) => end())
  }

  update(data, tell) {
    const isOther = this.data?.run !== data.run
    this.data = data
    this.tell = tell
    if (isOther || this.told !== data.step) this.step = this.told = data.step
    if (isOther) Object.assign(this, { by: data.order || "-step", known: null, news: undefined })
    ask({ run: data.run, lang: data.lang })
    this.numbers.ask(address(`snapshots/${encodeURIComponent(data.run)}.json`, { lang: data.lang }), isOther)
    this.draw()
  }

  hear({ screen, isOffline }) {
    Object.assign(this, { strip: screen?.strip ?? [], isLive: screen?.live, isOffline })
    const news = screen ? PARTS.map((part) => screen.versions[part]).join("-") : this.news
    if (this.news && this.news !== news) this.numbers.look()
    this.news = news
    this.draw()
  }

  take(known) {
    this.known = known
    this.draw()
  }

  draw() {
    if (!this.data || !this.strip || !this.known) return
    const { words } = this.data
    const { columns, lines } = this.known
    mark(this.root, "dimmed", this.isOffline)
    const rows = this.strip.filter(({ step }) => step > 0).map((cell) => ({ cell, line: lines[cell.step], values: lines[cell.step]?.values ?? [] }))
    const places = columns.map((_, index) => scaleOf(rows.map(({ values }) => values[index]).filter(Boolean)))
    this.drawHead(columns)
    const isPlanned = ({ cell }) => cell.state === "planned" || (cell.state === "skipped" && !lines[cell.step])
    this.shown = this.sorted(rows.filter((row) => !isPlanned(row)), columns)
    this.fill(this.body, this.shown, places)
    this.fill(this.planned, rows.filter(isPlanned), places)
    write(this.scale, this.isOffline ? words.offline : words.scale)
    this.reveal()
  }

  fill(body, rows, places) {
    fit(body, rows.length, makeRow).forEach((node, index) => this.drawRow(node, rows[index], places))
  }

  drawHead(columns) {
    const { words } = this.data
    const heads = [
      { name: "step", title: words.step },
      { title: words.verdict },
      { name: "won", title: words.won, help: words.wonHelp },
      ...columns,
      { title: words.note },
    ]
    fit(this.head, heads.length, () => make("th", "", button(""), make("span"))).forEach((node, index) => {
      const { name, title, help, best_first: first = `-${name}` } = heads[index]
      const [sorter, text] = node.children
      const way = this.by === name ? "ascending" : this.by === `-${name}` ? "descending" : null
      set(node, "scope", "col")
      set(node, "aria-sort", name ? way : null)
      show(sorter, name)
      show(text, !name)
      write(name ? sorter : text, title)
      set(sorter, "title", help)
      sorter.onclick = () => this.sortBy(this.by !== first ? first : first === name ? `-${name}` : name)
      mark(node, "number", index >= FIXED && index < heads.length - 1)
    })
    const able = heads.filter(({ name }) => name)
    write(this.orderName, words.sort)
    fit(this.order, 2 * able.length, () => make("option")).forEach((option, index) => {
      const { name, title } = able[index >> 1]
      option.value = index % 2 ? name : `-${name}`
      write(option, `${title} ${index % 2 ? "↑" : "↓"}`)
    })
    if (this.order.value !== this.by) this.order.value = this.by
  }

  sortBy(by) {
    this.by = by
    this.tell({ do: "order", order: by === "-step" ? "" : by })
    this.draw()
  }

  // What has no number comes last, whichever way the others are sorted.
  sorted(rows, columns) {
    const isDown = this.by.startsWith("-")
    const name = isDown ? this.by.slice(1) : this.by
    const at = columns.findIndex((column) => column.name === name)
    const key = ({ cell, values }) => (at >= 0 ? values[at]?.number : name === "won" ? (cell.of ? cell.wins / cell.of : undefined) : cell.step)
    const compared = (one, other) => (isDown ? key(other) - key(one) : key(one) - key(other)) || other.cell.step - one.cell.step
    const known = rows.filter((row) => Number.isFinite(key(row)))
    return [...known.sort(compared), ...rows.filter((row) => !Number.isFinite(key(row))).sort((one, other) => other.cell.step - one.cell.step)]
  }

  drawRow(node, { cell, line, values }, places) {
    const { words } = this.data
    const isOpen = cell.step === this.step
    const isThere = Boolean(line)
    node.dataset.state = cell.state
    node.dataset.mark = cell.mark
    mark(node, "open", isOpen)
    const [first, verdict, won, ...rest] = fitCells(node, FIXED + places.length + 1)
    const [image, opener] = first.children
    showImage(image, cell.thumbnail)
    write(opener, cell.label)
    opener.disabled = !isThere
    set(opener, "aria-label", words.open.replace("{step}", cell.label))
    set(opener, "aria-current", isOpen ? "true" : null)
    node.onclick = isThere ? () => this.open(cell.step, opener) : null
    const isJudged = cell.state === "done" || cell.state === "failed"
    write(verdict.children[0], isJudged && line ? `${SIGNS[cell.mark] ?? ""} ${line.verdict}`.trim() : [words[cell.state], cell.eta].filter(Boolean).join(", "))
    set(verdict.children[0], "title", line?.verdict)
    const marks = [cell.best && `★ ${this.isLive ? words.bestSoFar : words.best}`, cell.flagged && `⚠ ${words.flagged}`, cell.starred && `☆ ${words.starred}`, cell.averaged && `x̄ ${words.averaged}`].filter(Boolean)
    fit(verdict.children[1], marks.length, () => make("span")).forEach((one, index) => write(one, marks[index]))
    write(won, cell.of ? `${cell.wins}/${cell.of}` : "")
    places.forEach((place, index) => drawNumber(rest[index], values[index], place, isThere && cell.state === "done", words))
    write(rest.at(-1), line?.note)
    set(rest.at(-1), "title", line?.note)
  }

  // The arrows go on from the row that was clicked.
  open(step, opener) {
    if (getSelection()?.toString()) return
    opener.focus({ preventScroll: true })
    this.step = step
    this.draw()
    this.tell({ do: "open", step })
    const details = document.querySelector(".st-key-snapshot")
    if (details?.getBoundingClientRect().top > innerHeight / 2) details.scrollIntoView({ behavior: "smooth" }) // below the table
  }

  press(event) {
    const openers = [...this.body.querySelectorAll("button:enabled")]
    const at = openers.indexOf(document.activeElement)
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: openers.length - 1 }[event.key]
    if (at < 0 || !openers[to]) return
    openers[to].focus()
    event.preventDefault()
  }

  // The open row is in sight at first, and when another one is opened elsewhere.
  reveal() {
    if (this.revealed === this.step) return
    const at = this.shown.findIndex(({ cell }) => cell.step === this.step)
    if (at < 0) return
    this.revealed = this.step
    const row = this.body.children[at].getBoundingClientRect()
    const frame = this.scroller.getBoundingClientRect()
    const top = frame.top + this.head.offsetHeight
    if (row.top < top || row.bottom > frame.bottom) this.scroller.scrollTop += row.top - top - frame.height / 3
  }
}

const makeRow = () => make("tr")

function fitCells(row, count) {
  if (row.children.length === count) return [...row.children]
  const image = make("img")
  image.hidden = true
  image.alt = ""
  image.loading = "lazy"
  const cells = Array.from({ length: count }, (_, index) => (index < FIXED || index === count - 1 ? make("td") : make("td", "number", make("span", "value"), makeInterval())))
  cells[0] = make("th", "step", image, button("opener"))
  set(cells[0], "scope", "row")
  cells[1] = make("td", "verdict", make("span"), make("span", "marks"))
  cells[2].className = "won"
  cells.at(-1).className = "note"
  row.replaceChildren(...cells)
  return cells
}

function drawNumber(node, value, place, isEvaluated, words) {
  const [text, bar] = node.children
  node.dataset.better = value?.better ?? null
  write(text, value ? value.text : isEvaluated ? words.missing : "")
  drawInterval(bar, value ?? { delta: null }, place)
  set(node, "title", value?.words)
}

export const snapshots = (component) => mount(component, "darkroom-snapshots", Snapshots)
