// Puts summaries before what GitHub puts them before: its Markdown renderer (cmark-gfm) and Mermaid's parser.
// Arguments: the summaries, then behind `--` pages with pictures. Fails where Mermaid refuses a chart, a table lost a row or a column, or foreign text became markup.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { JSDOM } from 'jsdom';

const { window } = new JSDOM('');
globalThis.window = window;
globalThis.document = window.document;
const mermaid = (await import('mermaid')).default;

// What GitHub allows to be one chart: https://mermaid.js.org/config/schema-docs/config.html#maxtextsize
const LONGEST_CHART = 50_000;
// All that our Markdown may become.
const ELEMENTS = new Set('H3 H4 P TABLE THEAD TBODY TR TH TD CODE PRE STRONG EM DETAILS SUMMARY UL LI BLOCKQUOTE BR'.split(' '));

const extensions = ['table', 'strikethrough', 'autolink', 'tagfilter', 'tasklist'].flatMap((name) => ['--extension', name]);
let failures = 0;
let charts = 0;
let rows = 0;

function expect(file, condition, text) {
    if (!condition) {
        failures += 1;
        console.error(`${basename(file)}: ${text}`);
    }
}

async function check(file) {
    const markdown = readFileSync(file, 'utf8');
    const html = execFileSync('cmark-gfm', ['--unsafe', ...extensions, file], { encoding: 'utf8', maxBuffer: 1 << 27 });
    const body = new window.DOMParser().parseFromString(html, 'text/html').body;

    const elements = [...body.querySelectorAll('*')];
    const odd = new Set(elements.map((element) => element.tagName).filter((name) => !ELEMENTS.has(name)));
    expect(file, odd.size === 0, `became ${[...odd].join(', ')}`);
    const attributes = elements.flatMap((element) => [...element.attributes].map((attribute) => attribute.name));
    const foreign = attributes.filter((name) => !['align', 'class', 'lang'].includes(name));
    expect(file, foreign.length === 0, `has attributes ${foreign}`);

    // Outside of code blocks, a line that begins with a pipe is a row; the one below the head becomes none.
    const lines = markdown.replace(/^(`{3,})[^]*?^\1$/gm, '').split('\n').filter((line) => line.startsWith('|'));
    const wanted = lines.filter((line) => !/^[|: -]+$/.test(line)).length;
    const found = body.querySelectorAll('tr').length;
    rows += found;
    expect(file, wanted === found, `${wanted} rows became ${found}`);
    for (const table of body.querySelectorAll('table')) {
        const columns = table.querySelectorAll('th').length;
        for (const row of table.querySelectorAll('tbody tr')) {
            expect(file, row.children.length === columns, `a row of ${row.children.length} in a table of ${columns}: ${row.textContent}`);
        }
    }

    for (const code of body.querySelectorAll('pre[lang=mermaid], code.language-mermaid')) {
        charts += 1;
        const text = code.textContent;
        expect(file, text.length <= LONGEST_CHART, `a chart of ${text.length} characters`);
        try {
            const { diagramType } = await mermaid.parse(text);
            expect(file, diagramType === 'gantt', `the chart is a ${diagramType}`);
            const diagram = await mermaid.mermaidAPI.getDiagramFromText(text);
            const tasks = diagram.db.getTasks();
            const written = text.split('\n').filter((line) => / :(active, |crit, |done, )?\d+, \d+$/.test(line)).length;
            expect(file, tasks.length === written, `${written} bars became ${tasks.length}`);
            const backwards = tasks.filter((task) => !(task.startTime < task.endTime));
            expect(file, backwards.length === 0, `${backwards.length} bars end before they start`);
        } catch (error) {
            expect(file, false, `Mermaid refuses the chart: ${error.message}\n${text}`);
        }
    }
}

// A page's pictures only have to be drawn.
async function draw(file) {
    const blocks = [...readFileSync(file, 'utf8').matchAll(/^```mermaid\n([^]*?)^```$/gm)];
    expect(file, blocks.length > 0, 'has no picture');
    for (const [, text] of blocks) {
        pictures += 1;
        await mermaid.parse(text).catch((error) => expect(file, false, `Mermaid refuses the picture: ${error.message}\n${text}`));
    }
}

const files = process.argv.slice(2);
const pages = files.splice(files.indexOf('--') >>> 0).slice(1);
let pictures = 0;
for (const file of files) await check(file);
for (const page of pages) await draw(page);
console.log(`report: ${files.length} summaries, ${charts} charts, ${rows} rows, ${pictures} pictures of pages, ${failures} failures`);
process.exitCode = failures || files.length === 0 || charts === 0 ? 1 : 0;
