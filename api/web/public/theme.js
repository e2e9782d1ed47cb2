// Runs before the first paint, so that a chosen theme never flashes in the other one.
// A file of its own: the page's content security policy forbids inline scripts.
try {
  const theme = localStorage.getItem('sam.theme')
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme
} catch {
  // Storage is switched off: the system's theme is used.
}
