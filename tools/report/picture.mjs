// Draws a summary as GitHub shows it: cmark-gfm, GitHub's style sheet, Mermaid, in headless Chromium.
// Arguments: the Markdown file, the PNG to write.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const [source, picture] = process.argv.slice(2);
const modules = join(dirname(fileURLToPath(import.meta.url)), 'node_modules');
const style = readFileSync(join(modules, 'github-markdown-css/github-markdown-light.css'), 'utf8');
const mermaid = pathToFileURL(join(modules, 'mermaid/dist/mermaid.min.js'));
const extensions = ['table', 'strikethrough', 'autolink', 'tagfilter'].flatMap((name) => ['--extension', name]);
const body = execFileSync('cmark-gfm', ['--unsafe', ...extensions, source], { encoding: 'utf8' });
// The width of a job summary on a laptop.
const width = 980;

const page = `<!doctype html><meta charset="utf-8"><style>${style}
body { margin: 0; padding: 24px; width: ${width - 48}px; }
pre:has(svg) { background: none; padding: 0; overflow: visible; }
</style><body class="markdown-body">${body}
<script src="${mermaid}"></script>
<script type="module">
    for (const code of document.querySelectorAll('pre[lang=mermaid] > code, code.language-mermaid')) {
        code.parentElement.removeAttribute('lang');
        code.parentElement.className = 'mermaid';
        code.parentElement.textContent = code.textContent;
    }
    mermaid.initialize({ startOnLoad: false, securityLevel: 'strict' });
    await mermaid.run();
    document.body.dataset.height = document.body.scrollHeight;
</script>`;

const folder = mkdtempSync(join(tmpdir(), 'summary-'));
try {
    const file = join(folder, 'page.html');
    writeFileSync(file, page);
    const chromium = (...more) =>
        execFileSync(
            'chromium',
            [
                '--headless', '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking',
                '--disable-component-update', '--disable-sync', '--hide-scrollbars', '--allow-file-access-from-files',
                `--user-data-dir=${join(folder, 'profile')}`, '--virtual-time-budget=20000', ...more, pathToFileURL(file).href,
            ],
            { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'], maxBuffer: 1 << 27, timeout: 120_000 },
        );
    const height = /data-height="(\d+)"/.exec(chromium(`--window-size=${width},1000`, '--dump-dom'))?.[1];
    if (!height) throw new Error('the page did not finish: Mermaid may have refused the chart');
    chromium(`--window-size=${width},${height}`, '--force-device-scale-factor=1.5', `--screenshot=${resolve(picture)}`);
    console.log(`${picture}: ${width}x${height}`);
} finally {
    rmSync(folder, { recursive: true, force: true });
}
