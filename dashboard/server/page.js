// Runs before Streamlit's own scripts; see page.py.
(() => {
  const patienceSeconds = 20;
  const askSeconds = 3;
  const chosen = new URLSearchParams(location.search).get("lang") ?? navigator.language;
  const language = !/^zh/i.test(chosen) ? "en" : /^zh[-_](hant|tw|hk|mo)/i.test(chosen) ? "zh-Hant" : "zh-Hans";
  const hint = HINTS[language]; // see page.py
  let wasConnected = false;
  let lastAsked = 0;

  const state = () => document.querySelector("[data-test-connection-state]")?.dataset.testConnectionState;

  const tell = (text) => {
    let line = document.getElementById("darkroom-waits");
    if (!text) return line?.remove();
    if (!line) {
      line = document.createElement("p");
      line.id = "darkroom-waits";
      line.setAttribute("role", "alert");
      line.style.cssText =
        "position: fixed; bottom: 0; left: 0; right: 0; margin: 0; padding: 12px 16px; z-index: 2000000; " +
        "font: 16px/1.5 system-ui, sans-serif; white-space: pre-line; overflow-wrap: anywhere; " +
        "background: #fff3d6; color: #1b1f26; border-top: 2px solid #b7791f";
      document.body.append(line);
    }
    if (line.textContent !== text) line.textContent = text;
  };

  // Why the WebSocket is refused. A page that nobody has seen yet is replaced by the reason; one that was in use keeps
  // what somebody typed there, and continues when the server lets it in again.
  const ask = async () => {
    lastAsked = performance.now();
    const answer = await fetch(`admission?lang=${language}`, { method: "POST", headers: { Accept: wasConnected ? "text/plain" : "text/html" } });
    const refusal = answer.status === 401 || answer.status === 403 ? await answer.text() : "";
    if (state() === "CONNECTED") return;
    if (wasConnected) return tell(refusal);
    if (!refusal) return;
    clearInterval(watch);
    document.open();
    document.write(refusal);
    document.close();
  };

  const watch = setInterval(() => {
    if (state() === "CONNECTED") {
      wasConnected = true;
      tell("");
    } else if (wasConnected) {
      if (performance.now() - lastAsked > 1000 * askSeconds) ask().catch(() => tell("")); // gone: Streamlit says so
    } else if (performance.now() > 1000 * patienceSeconds) {
      tell(hint);
    }
  }, 1000);
  ask().catch(() => {});
})();
