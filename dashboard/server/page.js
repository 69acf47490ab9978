// Runs before Streamlit's own scripts; see page.py.
(() => {
  const patienceSeconds = 20;
  const hint =
    "This page waits for its WebSocket. If a proxy stands in between, it must pass WebSockets on " +
    "(the headers Upgrade and Connection); see docs/dashboard.md.";

  const ask = async () => {
    const answer = await fetch("admission", { method: "POST", headers: { Accept: "text/html" } });
    if (answer.status !== 403) return;
    const refusal = await answer.text();
    document.open();
    document.write(refusal);
    document.close();
  };
  ask().catch(() => {}); // the server is gone: Streamlit says so

  const watch = setInterval(() => {
    const state = document.querySelector("[data-test-connection-state]")?.dataset.testConnectionState;
    const told = document.getElementById("darkroom-waits");
    if (state === "CONNECTED" || document.getElementById("refused")) {
      told?.remove();
      clearInterval(watch);
    } else if (!told && performance.now() > 1000 * patienceSeconds) {
      const line = document.createElement("p");
      line.id = "darkroom-waits";
      line.textContent = hint;
      line.style.cssText = "position: fixed; bottom: 0; left: 1em; right: 1em; font: 16px system-ui; z-index: 9";
      document.body.append(line);
    }
  }, 1000);
})();
