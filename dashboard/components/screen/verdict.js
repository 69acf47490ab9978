// What to ship and why: a headline, a sentence, a row for each metric that counts, the downloads, the runner-up.

import { button, copyText, fit, make, mark, openPage, set, show, write, writeWithCode } from "./dom.js"
import { drawInterval, makeInterval, scaleOf } from "./interval.js"
import { request } from "./poll.js"

const PHONE = matchMedia("(max-width: 720px)")

export class Verdict {
  // compare(left, right) changes the pictures.
  constructor(compare) {
    this.compare = compare
    this.headline = make("h1")
    this.sentence = make("p", "sentence")
    this.rows = make("ul", "rows")
    this.scale = make("p", "scale")
    this.cautions = make("ul", "cautions")
    this.more = button("link more", () => this.open(!this.isOpen))
    this.answer = make("section", "answer", this.headline, this.sentence, this.rows, this.scale, this.cautions, this.more)
    this.observer = new ResizeObserver(() => requestAnimationFrame(() => this.leaveOut())) // fonts come late
    for (const node of [this.answer, this.headline, this.sentence]) this.observer.observe(node)
    this.vote = button("primary", () => openPage("vote"))
    this.voting = make("div", "offer", this.vote)
    this.primary = make("div", "offer")
    this.others = make("p", "others")
    this.failure = make("p", "failure")
    this.downloads = make("section", "downloads", this.primary, this.others, this.failure)
    this.runnerUp = make("span")
    this.compareButton = button("link compare")
    this.summary = make("summary")
    this.reason = make("p")
    this.why = make("details", "why", this.summary, this.reason)
    this.why.ontoggle = () => this.leaveOut()
    this.also = make("section", "also", make("p", "runner-up", this.runnerUp, " ", this.compareButton), this.why)
  }

  draw(verdict, runId, words) {
    this.verdict = verdict
    this.runId = runId
    this.words = words
    this.observer.observe(this.answer.parentElement)
    this.answer.dataset.tone = verdict.tone
    write(this.headline, verdict.headline)
    set(this.answer, "aria-label", words.verdict)
    writeWithCode(this.sentence, verdict.sentence, words)
    this.drawRows(verdict.rows)
    write(this.scale, words.scale)
    show(this.scale, verdict.rows.some(({ delta }) => delta !== null))
    fit(this.cautions, verdict.cautions.length, () => make("li")).forEach((line, index) => writeWithCode(line, verdict.cautions[index], words))
    this.drawDownloads(verdict)
    this.drawRunnerUp(verdict)
    write(this.summary, words.why)
    write(this.reason, verdict.reason)
    show(this.why, verdict.reason)
    this.leaveOut()
  }

  open(isOpen) {
    this.isOpen = isOpen
    mark(this.answer, "open", isOpen)
    this.leaveOut()
  }

  // The column beside the pictures is only so high, and on a phone the answer: what matters least is left out, and a button
  // opens it.
  leaveOut() {
    if (!this.words) return
    const texts = [this.sentence, ...this.cautions.children]
    for (const piece of [...texts, ...this.rows.children, this.scale, this.others, this.runnerUp.parentElement]) mark(piece, "left-out", false)
    for (const text of texts) text.style.webkitLineClamp = ""
    show(this.more, true)
    write(this.more, this.isOpen ? this.words.less : this.words.moreOfIt.replace("{count}", 10)) // as wide as it may become
    set(this.more, "aria-expanded", Boolean(this.isOpen))
    if (this.isOpen) return
    const count = PHONE.matches ? this.cutAnswer(texts) : this.cutColumn()
    write(this.more, count === 1 ? this.words.moreOne : this.words.moreOfIt.replace("{count}", count))
    show(this.more, count)
  }

  // Of the cautions the first one stays, which is the gravest, and of the metrics.
  cutColumn() {
    const column = this.answer.parentElement
    const isOver = () => column.scrollHeight > column.clientHeight + 1
    show(this.more, false)
    if (!isOver()) return 0
    show(this.more, true)
    const [cautions, rows] = [this.cautions, this.rows].map(({ children }) => [...children].slice(1).reverse())
    let count = 0
    for (const piece of [...cautions, this.scale, this.runnerUp.parentElement, this.others, ...rows]) {
      if (!isOver()) break
      if (piece.hidden) continue
      mark(piece, "left-out", true)
      count += 1
    }
    return count
  }

  // Whole rows, and whole lines of a sentence or a caution.
  cutAnswer(texts) {
    const pieces = [...texts, ...this.rows.children]
    const bottom = this.answer.getBoundingClientRect().bottom
    const isOver = (piece, room) => piece.getBoundingClientRect().bottom > bottom - room + 1
    if (!pieces.some((piece) => isOver(piece, 0))) return 0
    const room = this.more.offsetHeight
    let count = 0
    while (pieces.length && isOver(pieces.at(-1), room)) {
      const piece = pieces.pop()
      const lines = texts.includes(piece) ? wholeLines(piece, bottom - room) : 0
      if (lines) piece.style.webkitLineClamp = lines
      else mark(piece, "left-out", true)
      count += 1
    }
    return count
  }

  // All bars have one scale, on which more is better and the line is the base model.
  drawRows(rows) {
    const place = scaleOf(rows)
    fit(this.rows, rows.length, makeRow).forEach((node, index) => {
      const row = rows[index]
      node.dataset.better = row.better
      write(node.children[0], row.title)
      write(node.children[1], row.words)
      const title = this.words.interval.replace("{difference}", row.difference)
      drawInterval(node.children[2], row, place, title)
      write(node.children[3], row.caveat)
      show(node.children[3], row.caveat)
    })
  }

  // Where only votes can choose, voting comes first, and every download after it.
  drawDownloads({ kind, downloads, path }) {
    const votes = kind === "unvoted"
    const primary = votes ? null : downloads.find((download) => download.primary)
    show(this.downloads, votes || downloads.length)
    if (votes && !this.voting.parentElement) this.downloads.prepend(this.voting)
    if (!votes) this.voting.remove()
    write(this.vote, this.words.vote)
    show(this.primary, primary)
    if (primary) this.drawPrimary(primary)
    const others = downloads.filter((download) => download !== primary)
    const nodes = fit(this.others, others.length + 1, () => make("span", "other", make("a"), button("link")))
    nodes.forEach((node, index) => (index < others.length ? this.drawOther(node, others[index]) : this.drawPath(node, path)))
    const failed = downloads.find(({ state }) => state === "failed")
    write(this.failure, failed?.message ?? failed?.words ?? "")
    show(this.failure, failed)
  }

  drawPrimary(download) {
    const isReady = download.state === "ready"
    if (this.primary.dataset.ready !== String(isReady)) {
      this.primary.replaceChildren(isReady ? make("a", "primary") : button("primary", () => this.convert(this.primaryDownload)))
      this.primary.dataset.ready = isReady
    }
    this.primaryDownload = download
    this.fill(this.primary.firstElementChild, download)
  }

  drawOther(node, download) {
    const [link, maker] = node.children
    const isReady = download.state === "ready"
    show(link, isReady)
    show(maker, !isReady)
    this.fill(isReady ? link : maker, download)
    maker.onclick = () => this.convert(download)
  }

  drawPath(node, path) {
    const [link, copy] = node.children
    show(link, false)
    show(copy, path)
    if (copy.dataset.path === path) return
    copy.dataset.path = path
    write(copy, this.words.copyPath)
    set(copy, "title", path)
    copy.onclick = () => copyText(path).then((done) => write(copy, done ? this.words.copied : path)) // the path itself can be selected
  }

  // Where somebody has asked for a conversion, the file is saved once it is there.
  fill(node, download) {
    const { state, label, url, name } = download
    write(node, state === "making" ? this.words.making.replace("{label}", label) : label)
    set(node, "title", download.programs)
    if (state === "ready") {
      set(node, "href", url)
      set(node, "download", "")
      if (this.wanted === name) {
        this.wanted = undefined
        node.click()
      }
    } else {
      node.disabled = state === "making"
    }
  }

  convert(download) {
    this.wanted = download.name
    request({ do: "convert", run_id: this.runId, format: download.name, step: this.verdict.step })
  }

  drawRunnerUp({ runner_up, step }) {
    show(this.runnerUp.parentElement, runner_up)
    if (!runner_up) return
    write(this.runnerUp, runner_up.words)
    write(this.compareButton, this.words.compare)
    this.compareButton.onclick = () => this.compare(runner_up.step, step)
  }
}

function wholeLines(text, bottom) {
  return Math.max(0, Math.floor((bottom - text.getBoundingClientRect().top) / parseFloat(getComputedStyle(text).lineHeight)))
}

function makeRow() {
  return make("li", "row", make("b"), make("span", "words"), makeInterval(), make("span", "caveat"))
}
