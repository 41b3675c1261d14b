// Validates timings files against docs/timings.schema.json, and the other way round: what the schema does not describe is an error here.
// Arguments: the schema, the files.
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import Ajv from 'ajv/dist/2020.js';

const [schemaFile, ...files] = process.argv.slice(2);
const read = (file) => JSON.parse(readFileSync(file, 'utf8'));

// Others have to accept fields that are added within a version; our own output may not have any that the schema lacks.
function closed(schema) {
    if (Array.isArray(schema)) return schema.map(closed);
    if (typeof schema !== 'object' || schema === null) return schema;
    const copy = Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, closed(value)]));
    if (schema.type === 'object' && schema.properties) copy.additionalProperties = false;
    return copy;
}

const rfc3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/;
const ajv = new Ajv({ allErrors: true, formats: { 'date-time': rfc3339 } });
const validate = ajv.compile(closed(read(schemaFile)));
let failures = 0;
for (const file of files) {
    if (!validate(read(file))) {
        failures += 1;
        console.error(`${basename(file)}: ${ajv.errorsText(validate.errors)}`);
    }
}
console.log(`timings: ${files.length} files, ${failures} failures`);
process.exitCode = failures || files.length === 0 ? 1 : 0;
