// The page is whole without this. With it, it is fetched again now and then and what
// changed is put in place, and charts say the value under the pointer or the arrow keys.
"use strict";
(() => {
  const every = 10000;
  const $ = (id, from = document) => from.getElementById(id);
  const news = $("news"), toggle = $("refresh-toggle");
  let on = true, timer = 0, busy = false, failed = false;

  // What the reader opened, focused and scrolled stays as it is.
  const keep = (old, fresh) => {
    for (const d of old.querySelectorAll("details[id]")) {
      const twin = fresh.querySelector("#" + CSS.escape(d.id));
      if (twin) twin.open = d.open;
    }
    return [...old.querySelectorAll(".scroll")].map((s) => s.scrollLeft);
  };

  const place = (old, fresh) => {
    if (old.isEqualNode(fresh)) return false;
    const focus = document.activeElement;
    const all = [...old.querySelectorAll("a, button, summary, .scroll, svg[tabindex]")];
    const at = old.contains(focus) ? all.indexOf(focus) : -1;
    const lefts = keep(old, fresh);
    old.replaceWith(fresh);
    charts(fresh);
    fresh.querySelectorAll(".scroll").forEach((s, i) => { if (lefts[i]) s.scrollLeft = lefts[i]; });
    if (at >= 0) {
      const again = fresh.querySelectorAll("a, button, summary, .scroll, svg[tabindex]")[at];
      if (again) again.focus({ preventScroll: true });
    }
    return true;
  };

  const refresh = async () => {
    if (busy) return;
    busy = true;
    try {
      const reply = await fetch("/", { cache: "no-store", signal: AbortSignal.timeout(20000) });
      if (!reply.ok) throw new Error(reply.status + " " + reply.statusText);
      const fresh = new DOMParser().parseFromString(await reply.text(), "text/html");
      const was = verdict(document), said = failed;
      const ids = [...document.querySelectorAll("main > section")].map((s) => s.id);
      const now = [...fresh.querySelectorAll("main > section")].map((s) => s.id);
      if (ids.join() !== now.join()) place($("main"), $("main", fresh));
      else for (const id of ids) place($(id), $(id, fresh));
      for (const id of ["asof", "sections", "foot"]) place($(id), $(id, fresh));
      document.title = fresh.title;
      failed = false;
      if (verdict(document) !== was) news.textContent = "Now: " + verdict(document);
      else if (said) news.textContent = "It answers again.";
    } catch (e) {
      if (!failed) news.textContent = "The daemon does not answer (" + e.message + "). What is shown is old; it is asked again.";
      failed = true;
    } finally {
      busy = false;
    }
  };

  const verdict = (doc) => (doc.querySelector("#glance .verdict") || { textContent: "" }).textContent.trim();

  const schedule = () => {
    clearInterval(timer);
    if (on && !document.hidden) timer = setInterval(refresh, every);
  };

  const charts = (root) => {
    for (const svg of root.querySelectorAll("figure.chart svg[id]")) {
      const spots = [...svg.querySelectorAll(".spots circle")];
      if (spots.length === 0) continue;
      const readout = $(svg.id + "-readout") || root.querySelector("#" + CSS.escape(svg.id + "-readout"));
      const scroll = svg.parentElement, box = svg.viewBox.baseVal;
      const cursor = document.createElementNS("http://www.w3.org/2000/svg", "path");
      cursor.setAttribute("class", "cursor");
      let at = -1;
      const show = (i) => {
        at = Math.max(0, Math.min(spots.length - 1, i));
        cursor.setAttribute("d", "M" + spots[at].getAttribute("cx") + " 8V" + (box.height - 24));
        svg.append(cursor);
        readout.textContent = spots[at].dataset.v;
      };
      svg.addEventListener("pointermove", (e) => {
        const r = svg.getBoundingClientRect();
        const x = (e.clientX - r.left) * box.width / r.width, y = (e.clientY - r.top) * box.height / r.height;
        let best = -1, least = 40;
        spots.forEach((s, i) => {
          const d = Math.abs(s.cx.baseVal.value - x) + (svg.querySelector(".dot") ? Math.abs(s.cy.baseVal.value - y) / 2 : 0);
          if (d < least) { least = d; best = i; }
        });
        if (best >= 0 && best !== at) show(best);
      });
      svg.addEventListener("pointerleave", () => { cursor.remove(); at = -1; });
      scroll.addEventListener("keydown", (e) => {
        if (e.target !== scroll) return;
        if (e.key === "ArrowRight") show(at + 1);
        else if (e.key === "ArrowLeft") show(at < 0 ? spots.length - 1 : at - 1);
        else if (e.key === "Home") show(0);
        else if (e.key === "End") show(spots.length - 1);
        else return;
        e.preventDefault();
      });
    }
  };

  const open = [];
  addEventListener("beforeprint", () => document.querySelectorAll("details:not([open])").forEach((d) => { d.open = true; open.push(d); }));
  addEventListener("afterprint", () => open.splice(0).forEach((d) => { d.open = false; }));

  $("refresh").hidden = false;
  $("refresh-now").addEventListener("click", refresh);
  toggle.addEventListener("click", () => {
    on = !on;
    toggle.setAttribute("aria-pressed", String(on));
    news.textContent = on ? "It is refreshed every ten seconds." : "It stays as it is until you refresh it.";
    schedule();
  });
  document.addEventListener("visibilitychange", () => { schedule(); if (on && !document.hidden) refresh(); });
  charts(document);
  schedule();
})();
