// The bar on top of every page. Data: {run, runId, page, pages: [{name, title, url}], lang, words}; see __init__.py.
// What it shows comes from poll.js; what a person asks of the run goes to the server, and where they go next to Python, as
// {do, …}.

import { attach, button, fit, make, mark, mount, onPlainClick, onReconnect, openPage, set, show, write, writeWithCode } from "./dom.js"
import { ask, follow, request } from "./poll.js"

const ON_A_PHONE = ["overview", "samples", "snapshots"] // the pages that have a place at the bottom of a phone
const NOT_KNOWN = { parts: [], tone: null, share: 0, can: {} } // until the first answer about a run
class Bar {
  constructor(root) {
    this.root = root
    this.build()
    const stop = [follow((state) => this.draw(state)), onReconnect(() => this.tell({ do: "look" }))]
    this.leave = () => stop.forEach((end) => end())
    new ResizeObserver(() => this.measure()).observe(this.under)
  }

  build() {
    const part = (tag, className, ...children) => (this[className] = make(tag, className, ...children))
    const press = (className, what) => (this[className] = button(className, () => this.press(what)))
    const dot = make("span", "dot")
    this.runName = make("span", "name")
    const opener = button("run")
    opener.append(this.runName, make("span", "caret"))
    this.run = opener
    this.more = button("more")
    this.moreTab = button("more-tab")
    this.chip = button("chip")
    this.stop = button("stop")
    this.parts = make("span", "parts")
    part("nav", "pages")
    part("div", "status", dot, this.parts)
    set(this.status, "role", "status")
    press("pause", "pause")
    press("resume", "resume")
    const header = make("header", "", make("span", "wordmark", "Darkroom"), opener, this.pages, this.status)
    header.append(this.chip, this.pause, this.resume, this.stop, this.more, make("div", "share", make("div")))
    this.title = make("h1", "unseen")
    this.root.append(header, this.title, part("div", "under"))
    this.buildPanels()
  }

  buildPanels() {
    const panel = (className, ...children) => {
      const made = make("div", `panel ${className}`, ...children)
      this.root.append(made)
      return made
    }
    this.runList = make("div", "runs")
    attach(this.run, panel("runs-panel", this.runList)).addEventListener("toggle", (event) => event.newState === "open" && this.listRuns())
    this.alertList = make("ul", "alerts")
    attach(this.chip, panel("alerts-panel", this.alertList))
    this.question = make("p")
    this.confirm = button("confirm-stop primary", () => this.press("stop"))
    this.cancel = button("cancel-stop", () => this.stopPanel.hidePopover())
    this.stopPanel = attach(this.stop, panel("stop-panel", this.question, make("div", "row", this.confirm, this.cancel)))
    this.menuPages = make("div", "menu-pages")
    this.menuPause = button("menu-pause small-only", () => this.press(this.canResume ? "resume" : "pause"))
    this.menuStop = button("menu-stop small-only", () => this.askBeforeStop())
    this.snapshot = button("snapshot", () => this.press("snapshot-now"))
    this.report = make("a", "report")
    set(this.report, "download", "")
    this.docs = make("a", "docs")
    const menu = panel("menu", this.menuPause, this.menuStop, this.snapshot, this.report, this.menuPages)
    this.menu = attach(this.more, menu)
    this.moreTab.onclick = () => this.menu.togglePopover({ source: this.moreTab })
  }

  update(data, tell) {
    this.data = data
    this.tell = tell
    const { words, run } = data
    document.documentElement.lang = data.lang
    write(this.runName, run)
    set(this.run, "aria-label", `${words.run}: ${run}`)
    set(this.pages, "aria-label", words.pages)
    this.drawPages()
    mark(this.root, "over", data.page === "overview")
    write(this.title, data.pages.find(({ name }) => name === data.page)?.title)
    show(this.title, data.page !== "overview")
    write(this.pause, words.pause)
    write(this.resume, words.resume)
    write(this.stop, words.stop)
    write(this.question, words.askStop)
    write(this.confirm, words.saveAndStop)
    write(this.cancel, words.keepTraining)
    write(this.snapshot, words.snapshot)
    write(this.menuStop, words.stop)
    write(this.report, words.report)
    set(this.report, "href", `report/${encodeURIComponent(run)}.html?lang=${data.lang}`)
    set(this.more, "aria-label", words.more)
    write(this.more, "⋯")
    ask({ run, lang: data.lang })
    if (this.state) this.draw(this.state)
  }

  drawPages() {
    const { pages, page, words } = this.data
    const fill = (link, { name, title, url }) => {
      write(link, title)
      set(link, "href", url)
      set(link, "aria-current", name === page ? "page" : null)
      mark(link, "on-phone", ON_A_PHONE.includes(name))
      onPlainClick(link, () => this.go(name))
    }
    if (this.moreTab.parentElement) this.moreTab.remove()
    fit(this.pages, pages.length, () => make("a")).forEach((link, index) => fill(link, pages[index]))
    write(this.moreTab, words.moreTab)
    this.pages.append(this.moreTab)
    mark(this.moreTab, "current", !ON_A_PHONE.includes(page))
    const others = pages.filter(({ name }) => !ON_A_PHONE.includes(name))
    fit(this.menuPages, others.length, () => make("a")).forEach((link, index) => fill(link, others[index]))
  }

  go(name) {
    this.menu.hidePopover()
    if (name !== this.data.page) openPage(name)
  }

  async press(what) {
    for (const panel of [this.menu, this.stopPanel]) panel.hidePopover()
    const stops = [this.stop, this.menuStop]
    const buttons = { pause: [this.pause, this.menuPause], resume: [this.resume, this.menuPause], stop: stops, follow: stops, "snapshot-now": [this.snapshot] }
    for (const pressed of buttons[what]) pressed.disabled = true // until there is an answer
    await request({ do: what, run_id: this.data.runId })
    this.draw(this.state)
  }

  askBeforeStop() {
    this.menu.hidePopover()
    this.stopPanel.showPopover({ source: this.more })
  }

  draw(state) {
    this.state = state
    if (!this.data) return
    const { screen, trouble, isOffline } = state
    const { words, runId } = this.data
    if (trouble || (screen && runId && screen.run_id !== runId)) this.notice()
    const status = isOffline
      ? { parts: [words.offline], tone: "bad", share: screen?.status.share ?? 0 }
      : trouble
        ? { parts: [trouble.error], tone: "bad", share: 0 }
        : (screen?.status ?? NOT_KNOWN)
    this.drawStatus(status)
    this.drawButtons(isOffline || trouble ? {} : status.can)
    this.drawAlerts(trouble || !screen ? [] : screen.alerts)
    this.drawUnder(trouble, screen, state.refusal)
  }

  // The run is gone, cannot be read, or another one has its name: Python says so, once.
  notice() {
    if (this.noticed === this.data.runId) return
    this.noticed = this.data.runId
    this.tell({ do: "look" })
  }

  drawStatus({ parts, tone, share }) {
    set(this.status, "data-tone", tone)
    set(this.status, "title", parts.join(" · "))
    fit(this.parts, parts.length, () => make("span")).forEach((node, index) => write(node, parts[index]))
    const width = `${(100 * share).toFixed(1)}%`
    const done = this.root.querySelector(".share > div")
    if (done.style.width !== width) done.style.width = width
    set(this.root.querySelector(".share"), "hidden", share >= 1)
  }

  drawButtons(can) {
    this.canResume = can.resume
    const isAtWork = can.pause || can.resume || can.stop
    show(this.pause, isAtWork && !can.resume)
    show(this.resume, can.resume)
    show(this.stop, isAtWork)
    show(this.menuPause, can.pause || can.resume)
    show(this.menuStop, can.stop)
    write(this.menuPause, can.resume ? this.data.words.resume : this.data.words.pause)
    for (const [node, may] of [[this.pause, can.pause], [this.resume, can.resume], [this.stop, can.stop], [this.menuPause, true], [this.menuStop, true], [this.snapshot, can.snapshot]]) {
      if (node.disabled === Boolean(may)) node.disabled = !may
    }
    if (!can.stop && this.stopPanel.matches(":popover-open")) this.stopPanel.hidePopover()
  }

  drawAlerts(alerts) {
    show(this.chip, alerts.length)
    mark(this.chip, "bad", alerts.some(({ level }) => level === "bad"))
    write(this.chip, alerts.length === 1 ? this.data.words.oneAlert : this.data.words.alerts.replace("{count}", alerts.length))
    fit(this.alertList, alerts.length, () => make("li", "", make("span"), make("a"))).forEach((line, index) => {
      const { level, text, log } = alerts[index]
      const [said, link] = line.children
      line.className = level
      write(said, text)
      write(link, log && this.data.words.openLog.replace("{program}", log))
      show(link, log)
      set(link, "href", log && `logs?${new URLSearchParams({ run: this.data.run, role: log, at: "last" })}`)
      onPlainClick(link, () => {
        this.chip.popoverTargetElement.hidePopover()
        this.tell({ do: "log", role: log })
      })
    })
  }

  drawUnder(trouble, screen, refusal) {
    const requests = trouble || !screen ? [] : screen.requests
    const advice = trouble || !screen || screen.advice === this.dismissed ? "" : screen.advice
    const notDone = trouble || refusal === undefined ? "" : (refusal?.error ?? this.data.words.notSent)
    const lines = [
      ...(notDone ? [{ kind: "trouble", text: notDone }] : []),
      ...(trouble ? [{ kind: "trouble", text: [trouble.error, trouble.hint].filter(Boolean).join("\n") }] : []),
      ...(advice ? [{ kind: "advice", text: advice }] : []),
      ...requests.map((request) => ({ kind: "request", request })),
    ]
    const nodes = fit(this.under, lines.length, () => make("div"))
    nodes.forEach((node, index) => this.drawLine(node, lines[index]))
    this.measure()
  }

  // The first screen makes room for it inside, every other page below its end, so that nothing moves when it comes or goes.
  measure() {
    document.documentElement.style.setProperty("--darkroom-under", `${this.under.offsetHeight}px`)
  }

  drawLine(node, line) {
    if (node.dataset.kind !== line.kind) {
      node.replaceChildren()
      node.dataset.kind = line.kind
      node.className = `line ${line.kind}`
    }
    if (line.kind === "request") return drawRequest(node, line.request)
    const [text] = fit(node, line.kind === "advice" ? 4 : 1, () => (node.children.length < 2 ? make("p") : button("")))
    if (line.kind === "trouble") return writeWithCode(text, line.text)
    const [title, reason, follow_, later] = node.children
    write(title, this.data.words.advice)
    write(reason, line.text)
    write(follow_, this.data.words.saveAndStop)
    write(later, this.data.words.notYet)
    follow_.className = "accept-advice primary"
    later.className = "dismiss-advice"
    follow_.onclick = () => this.press("follow")
    later.onclick = () => {
      this.dismissed = line.text
      this.draw(this.state)
    }
  }

  async listRuns() {
    const runs = await fetch(`runs.json?lang=${this.data.lang}`, { cache: "no-store" }).then((answer) => answer.json()).catch(() => [])
    fit(this.runList, runs.length, makeRun).forEach((link, index) => {
      const { name, state, tone, best } = runs[index]
      link.dataset.tone = tone
      write(link.children[1], name)
      write(link.children[2], [state, best].filter(Boolean).join(" · "))
      set(link, "href", `?run=${encodeURIComponent(name)}`)
      set(link, "aria-current", name === this.data.run ? "true" : null)
      onPlainClick(link, () => {
        this.runList.parentElement.hidePopover()
        if (name !== this.data.run) this.tell({ do: "run", run: name })
      })
    })
  }
}

const makeRun = () => make("a", "", make("span", "dot"), make("b"), make("span", "state"))

// requested → seen → saved → stopped, and when each stage was reached.
function drawRequest(node, { label, by, stages, trouble }) {
  const [chain, why] = fit(node, 2, () => (node.children.length ? make("p", "why") : make("ol", "chain")))
  set(chain, "aria-label", label)
  const [name, ...links] = fit(chain, stages.length + 1, () => make("li", "", make("b"), make("span")))
  name.className = "name"
  write(name.children[0], label)
  write(name.children[1], by)
  links.forEach((link, index) => {
    link.className = stages[index].when ? "reached" : "open"
    write(link.children[0], stages[index].name)
    write(link.children[1], stages[index].when)
  })
  write(why, trouble)
  show(why, trouble)
}

export const bar = (component) => mount(component, "darkroom-bar", Bar)
