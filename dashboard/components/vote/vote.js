// Two pictures of one prompt and seed; which steps drew them is hidden, also from the address of a picture.
// Data: {run, lang, words}; see __init__.py. The pairs come from `ballot/<run>.json`, the answers go to `votes/<run>.json`.

import { button, make, mark, mount, set, show, write } from "./dom.js"
import { Outbox } from "./outbox.js"
import { address } from "./poll.js"
import { Result } from "./result.js"

const VOTER = "darkroom-voter"
const RETRY_SECONDS = 3
const SWIPE_PIXELS = 70
const KEYS = { ArrowLeft: "left", ArrowRight: "right", ArrowDown: "equal", s: "skipped", S: "skipped" }
class Vote {
  constructor(root) {
    this.root = root
    this.queue = [] // the first one is shown
    this.heading = make("h1")
    this.hint = make("p", "hint")
    this.prompt = make("p", "prompt")
    this.sides = ["left", "right"].map((side) => this.makeSide(side))
    this.reference = make("figure", "reference", make("img"), make("figcaption"))
    this.pair = make("div", "pair", this.sides[0], this.reference, this.sides[1])
    this.answers = ["left", "equal", "right"].map((answer) => button(`answer ${answer}`, () => this.answer(answer)))
    this.skip = button("plain", () => this.answer("skipped"))
    this.undo = button("plain", () => this.takeBack())
    this.toggle = button("plain", () => this.showReference(!this.isReferenceShown))
    this.progress = make("p", "progress")
    set(this.progress, "role", "status")
    this.trouble = make("p", "trouble")
    set(this.trouble, "role", "alert")
    this.keys = make("p", "keys")
    const answers = make("div", "answers", ...this.answers)
    const others = make("div", "others", this.skip, this.undo, this.toggle)
    this.stage = make("section", "stage", this.prompt, this.pair, answers, others, this.keys)
    this.voterName = make("span")
    this.voter = make("input")
    this.voter.maxLength = 40
    this.voter.onchange = () => this.call(this.voter.value)
    this.voterHint = make("span", "hint")
    this.result = new Result()
    const who = make("label", "who", this.voterName, this.voter, this.voterHint)
    root.append(this.heading, this.hint, this.progress, this.trouble, this.stage, who, this.result.root)
    this.isReferenceShown = false
    this.press = (event) => this.onKey(event)
    this.touch()
    document.addEventListener("keydown", this.press, true) // before Streamlit, whose R runs the page again
  }

  makeSide(side) {
    const made = button(`side ${side}`, () => this.answer(side))
    made.append(make("img"), make("span", "none"), make("b"))
    return made
  }

  update(data) {
    const isOther = this.data?.run !== data.run
    this.data = data
    this.name()
    if (!isOther) return
    this.outbox?.close()
    this.outbox = new Outbox(data.run, data.lang, {
      take: (ballot, vote) => this.take(ballot, vote.answer === "withdrawn"),
      refuse: (sentence) => (this.say(sentence), this.ask()),
      tell: (count) => this.say(count ? data.words.unsent.replace("{count}", count) : ""),
    })
    this.outbox.pending = () => this.queue.slice(0, 1).map(({ id }) => id)
    this.answered = new Set()
    this.scope = ""
    this.forget()
    this.result.of(data.run, data.lang, data.words)
    this.outbox.send().then(() => this.ask()) // what a reload has interrupted
  }

  name() {
    const { words } = this.data
    write(this.heading, words.heading)
    this.nameHint()
    this.answers.forEach((one, at) => write(one, [words.left, words.equal, words.right][at]))
    write(this.skip, words.skip)
    write(this.undo, words.undo)
    write(this.toggle, words.reference)
    write(this.voterName, words.voter)
    write(this.voterHint, words.voterHint)
    write(this.reference.lastChild, words.reference)
    this.sides.forEach((node, at) => {
      write(node.lastChild, "AB"[at])
      set(node, "aria-label", at ? words.right : words.left)
      set(node.firstChild, "alt", at ? words.pictureRight : words.pictureLeft)
    })
    if (document.activeElement !== this.voter) this.voter.value = isRandom(voter()) ? "" : voter()
  }

  nameHint() {
    write(this.hint, [this.data.words.hint, this.scope].filter(Boolean).join(" "))
  }

  forget() {
    for (const pair of this.queue) release(pair)
    this.queue = []
    this.shown = null
    this.draw()
  }

  call(name) {
    localStorage.setItem(VOTER, name.trim() || random())
    this.forget()
    this.ask()
  }

  async ask() {
    const asked = (this.asked = Symbol())
    const url = address(`ballot/${encodeURIComponent(this.data.run)}.json`, { lang: this.data.lang, voter: voter() })
    const answer = await fetch(url, { cache: "no-store" }).catch(() => null)
    const said = await answer?.json().catch(() => null)
    if (asked !== this.asked || !this.isThere) return
    if (answer?.ok && said) {
      if (this.isWaiting) this.say("")
      this.isWaiting = false
      return this.take(said)
    }
    this.isWaiting = true
    this.say(said?.error ?? this.data.words.offline)
    setTimeout(() => asked === this.asked && this.isThere && this.ask(), 1000 * RETRY_SECONDS)
  }

  get isThere() {
    return this.root.isConnected
  }

  // The pair on screen stays, unless a vote was taken back: its pair is shown again at once.
  take(ballot, isAgain = false) {
    if (!this.isThere) return
    this.last = ballot.last
    const kept = isAgain ? [] : this.queue.slice(0, 1)
    const ids = new Set([...this.answered, ...kept.map(({ id }) => id)])
    const known = new Map(this.queue.map((pair) => [pair.id, pair]))
    const queue = [...kept, ...ballot.pairs.filter(({ id }) => !ids.has(id)).map((pair) => known.get(pair.id) ?? prepare(pair))]
    for (const pair of this.queue) if (!queue.includes(pair)) release(pair)
    this.queue = queue
    this.scope = ballot.scope
    this.nameHint()
    write(this.progress, ballot.note || ballot.progress)
    if (ballot.problem) this.say(ballot.problem)
    this.result.votes = ballot.progress
    this.draw()
  }

  draw() {
    const [pair] = this.queue
    show(this.stage, pair)
    this.undo.disabled = !this.last
    if (pair === this.shown) return
    this.shown = pair
    this.since = null
    if (!pair) return
    this.stage.dataset.pair = pair.id
    write(this.prompt, pair.prompt)
    show(this.toggle, pair.reference_url)
    write(this.keys, [this.data.words.keys, pair.reference_url && this.data.words.referenceKey].filter(Boolean).join(" · "))
    this.drawReference()
    this.sides.forEach((node) => {
      node.firstChild.removeAttribute("src")
      write(node.children[1], this.data.words.loading)
      mark(node, "empty", true)
    })
    pair.loaded.then((urls) => this.drawPictures(pair, urls))
  }

  drawPictures(pair, urls) {
    if (pair !== this.shown) return
    this.since = performance.now()
    this.sides.forEach((node, at) => {
      if (urls[at]) node.firstChild.src = urls[at]
      else write(node.children[1], this.data.words.missingFile)
      mark(node, "empty", !urls[at])
    })
  }

  showReference(isShown) {
    this.isReferenceShown = isShown
    this.drawReference()
  }

  drawReference() {
    const url = this.shown?.reference_url
    const isShown = Boolean(url && this.isReferenceShown)
    show(this.reference, isShown)
    set(this.toggle, "aria-pressed", isShown)
    if (isShown) set(this.reference.firstChild, "src", url)
    set(this.reference.firstChild, "alt", this.data.words.reference)
  }

  // Nothing is answered before it is seen.
  answer(answer) {
    const pair = this.shown
    if (!pair || (this.since === null && answer !== "skipped")) return
    const seconds = this.since === null ? 0 : (performance.now() - this.since) / 1000
    const { id, prompt_id, seed, left, right } = pair
    this.queue.shift()
    release(pair)
    this.last = { id, prompt_id, seed, left, right }
    this.answered.add(id)
    this.outbox.put({ voter: voter(), ...this.last, answer, seconds: Math.round(10 * seconds) / 10 })
    this.draw()
  }

  // After every vote before it has arrived, so that there is one to take back.
  takeBack() {
    if (!this.last) return
    const { id, prompt_id, seed, left, right } = this.last
    this.last = null
    this.undo.disabled = true
    this.outbox.put({ voter: voter(), id, prompt_id, seed, left, right, answer: "withdrawn" })
  }

  onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.target.closest?.("input, textarea, select, [contenteditable]")) return
    const { key } = event
    if (KEYS[key]) this.answer(KEYS[key])
    else if (key === "u" || key === "U" || key === "Backspace") this.takeBack()
    else if (key === "r" || key === "R") this.showReference(!this.isReferenceShown)
    else return
    event.preventDefault()
    event.stopPropagation()
  }

  // To the left: A, to the right: B.
  touch() {
    let from = null
    this.pair.addEventListener("pointerdown", (event) => (from = event.pointerType === "touch" ? event.clientX : null))
    this.pair.addEventListener("pointerup", (event) => {
      const moved = from === null ? 0 : event.clientX - from
      from = null
      if (Math.abs(moved) < SWIPE_PIXELS) return
      this.isSwiped = true
      this.answer(moved < 0 ? "left" : "right")
    })
    this.pair.addEventListener("click", (event) => {
      if (this.isSwiped) event.stopPropagation()
      this.isSwiped = false
    }, { capture: true })
  }

  say(text) {
    write(this.trouble, text)
    show(this.trouble, text)
  }

  leave() {
    document.removeEventListener("keydown", this.press, true)
    this.outbox?.close()
    this.result.leave()
    for (const pair of this.queue) release(pair)
  }
}

function random() {
  return `voter-${Array.from(crypto.getRandomValues(new Uint8Array(4)), (byte) => byte.toString(16).padStart(2, "0")).join("")}`
}

const isRandom = (name) => /^voter-[0-9a-f]{8}$/.test(name)

function voter() {
  const known = localStorage.getItem(VOTER)
  if (known) return known
  const made = random()
  localStorage.setItem(VOTER, made)
  return made
}

// Loads both pictures; from then on they are shown from memory.
function prepare(pair) {
  const load = async (url) => {
    const answer = url && (await fetch(url).catch(() => null))
    return answer?.ok ? URL.createObjectURL(await answer.blob()) : null
  }
  return { ...pair, loaded: Promise.all([load(pair.left_url), load(pair.right_url)]) }
}

function release(pair) {
  pair.loaded.then((urls) => setTimeout(() => urls.forEach((url) => url && URL.revokeObjectURL(url)), 1000))
}

export const vote = (component) => mount(component, "darkroom-vote", Vote)
