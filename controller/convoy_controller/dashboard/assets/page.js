// What every page does by itself: it says when its connection is lost and found, and keeps durations up to date.

(() => {
  "use strict";

  // NiceGUI shows and hides an element of its own, which no screen reader announces.
  const watchConnection = () => {
    const popup = document.getElementById("popup");
    if (popup === null) return;
    const said = document.createElement("div");
    said.id = "convoy-connection";
    said.setAttribute("role", "alert");
    document.body.append(said);
    let wasLost = false;
    new MutationObserver(() => {
      const isLost = popup.getAttribute("aria-hidden") === "false";
      if (isLost) {
        said.textContent = "Connection lost: what you see may be old. Trying again …";
      } else if (wasLost) {
        said.textContent = "Connected again.";
        setTimeout(() => { if (!wasLost) said.textContent = ""; }, 4000);
      }
      wasLost = isLost;
    }).observe(popup, { attributes: true, attributeFilter: ["aria-hidden"] });
  };

  const UNITS = [[86400, "d"], [3600, "h"], [60, "min"]];

  const spoken = (seconds) => {
    for (const [size, name] of UNITS) {
      if (seconds >= size) return `${Math.floor(seconds / size)} ${name}`;
    }
    return `${Math.max(0, Math.floor(seconds))} s`;
  };

  // <convoy-ago at="2026-01-01T00:00:00+00:00">: how long ago that is, by this machine's clock.
  customElements.define("convoy-ago", class extends HTMLElement {
    static observedAttributes = ["at"];
    connectedCallback() { this.tell(); }
    attributeChangedCallback() { this.tell(); }
    tell() {
      const at = Date.parse(this.getAttribute("at") ?? "");
      const text = Number.isNaN(at) ? "" : spoken((Date.now() - at) / 1000);
      if (this.textContent !== text) this.textContent = text;
    }
  });
  setInterval(() => document.querySelectorAll("convoy-ago").forEach((each) => each.tell()), 5000);

  if (document.readyState === "loading") addEventListener("DOMContentLoaded", watchConnection);
  else watchConnection();
})();
