// The theme toggle, and a refresh of the overview that replaces its content in place, without a flicker.
(() => {
  const root = document.documentElement;
  const asked = new URLSearchParams(location.search).get("theme");
  const kept = asked ? null : localStorage.getItem("theme");
  if (kept) root.dataset.theme = kept;
  document.getElementById("theme").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    localStorage.setItem("theme", root.dataset.theme);
  });

  const main = document.querySelector("main[data-refresh]");
  if (!main) return;
  const refresh = async () => {
    if (document.hidden) return;
    try {
      const answer = await fetch(location.href, { headers: { accept: "text/html" } });
      if (answer.redirected) return location.reload(); // signed out: ask for a token
      if (!answer.ok) return;
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.querySelector("main");
      if (fresh && fresh.innerHTML !== main.innerHTML) main.innerHTML = fresh.innerHTML;
      const clock = page.querySelector(".clock");
      if (clock) document.querySelector(".clock").textContent = clock.textContent;
    } catch {
      // The server is restarting; the next round tells.
    }
  };
  setInterval(refresh, Number(main.dataset.refresh) * 1000);
})();
