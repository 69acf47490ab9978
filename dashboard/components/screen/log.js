// The last lines of a program's log. Data: {run, lang, role, count, wanted, level, start, words}; see __init__.py. They come
// from `log/<run>/<role>.json`, which is asked for again when a log of the run has changed.

import { button, make, mount, scrollByKeyboard, write } from "./dom.js"
import { address, ask, Feed, follow } from "./poll.js"

const AT_THE_END = 40 // pixels: so near to it, new lines are followed
class Log {
  constructor(root) {
    this.text = make("pre")
    this.frame = scrollByKeyboard(make("div", "frame", this.text))
    this.copy = button("copy", () => this.copyAll())
    this.remark = make("p", "remark")
    root.append(this.frame, this.copy, this.remark)
    this.feed = new Feed(() => false, { quiet: Infinity }) // asked for again when it has changed
    const stop = [follow((state) => this.hear(state)), this.feed.follow((state) => this.take(state))]
    this.leave = () => stop.forEach((end) => end())
  }

  update(data) {
    const { run, lang, role, count, wanted, level, start, words } = data
    this.data = data
    write(this.copy, words.copy)
    ask({ run, lang })
    this.feed.ask(address(`log/${encodeURIComponent(run)}/${encodeURIComponent(role)}.json`, { lang, count, wanted, level, start }))
  }

  hear({ screen }) {
    const news = screen?.versions.logs ?? this.news
    if (this.news && this.news !== news) this.feed.look()
    this.news = news
  }

  take({ content, trouble }) {
    if (trouble) write(this.text, trouble.error)
    else if (content) this.draw(content)
  }

  draw({ text, remark }) {
    const { frame } = this
    const isOther = this.shown !== this.feed.url
    const isAtEnd = frame.scrollHeight - frame.scrollTop - frame.clientHeight < AT_THE_END
    this.shown = this.feed.url
    write(this.text, text)
    write(this.remark, remark)
    if (this.data.start !== "newest") frame.scrollTop = isOther ? 0 : frame.scrollTop
    else if (isOther || isAtEnd) frame.scrollTop = frame.scrollHeight
  }

  async copyAll() {
    const { words } = this.data
    await navigator.clipboard.writeText(this.text.textContent).then(() => write(this.copy, words.copied), () => getSelection().selectAllChildren(this.text)) // no clipboard without https: to be copied by hand
    setTimeout(() => write(this.copy, words.copy), 2000)
  }
}

export const log = (component) => mount(component, "darkroom-log", Log)
