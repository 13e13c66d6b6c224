// Before anything is drawn, so that nothing flashes: a classic script, not a module.
try {
  const theme = localStorage.getItem("otel-dns-theme");
  if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
} catch { /* storage is switched off: the system's choice stays */ }
