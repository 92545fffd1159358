() => {
  // Every text that is shown with less than 4.5 to 1 (3 to 1 where it is large) against what is behind it.
  const parse = text => { const m = text.match(/[\d.]+/g).map(Number); return [m[0], m[1], m[2], m[3] ?? 1]; };
  const over = (top, below) => [0, 1, 2].map(i => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
  const light = c => { const [r, g, b] = c.slice(0, 3).map(v => { v /= 255;
    return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const behind = element => { const layers = [];
    for (let e = element; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor);
      if (c[3] > 0) { layers.push(c); if (c[3] === 1) break; } }
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255, 1]); };
  const found = [];
  const walker = document.createTreeWalker(document.querySelector('.stApp'), NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement, text = walker.currentNode.textContent.trim();
    const box = element.getBoundingClientRect(), style = getComputedStyle(element);
    if (!text || !box.width || !box.height || style.visibility === 'hidden' || style.opacity === '0') continue;
    if (element.closest('svg, canvas, style, script, [aria-hidden=true], [disabled], .stPlotlyChart')) continue;
    let opacity = 1;
    for (let e = element; e; e = e.parentElement) opacity *= Number(getComputedStyle(e).opacity);
    const back = behind(element), c = parse(style.color);
    const words = over([c[0], c[1], c[2], c[3] * opacity], back);
    const [dark, bright] = [light(words), light(back)].sort((a, b) => a - b);
    const ratio = (bright + 0.05) / (dark + 0.05);
    const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if (ratio < (large ? 3 : 4.5)) found.push(`${text.slice(0, 40)}: ${ratio.toFixed(2)} (${style.color})`);
  }
  return [...new Set(found)];
}
