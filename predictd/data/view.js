// The page of `predictd view`: a list of pairs to choose from, and igv.js, which draws what was chosen.
"use strict";

// So many pairs are listed at once; the filter finds the others.
const LISTED = 200;
const HEIGHT = 60;

const colour = (values) => `rgb(${values.join(",")})`;
const half = (values, towards) => values.map((value) => Math.round((value + towards) / 2));

/** Mean plus or minus some standard deviations, never below zero where the mean is not; both by igv.js's readers. */
class Bound {
    constructor(mean, deviation, factor) {
        Object.assign(this, { mean, deviation, factor, queryable: true, windowFunctions: ["mean"] });
    }

    async getFeatures(options) {
        const [means, deviations] = await Promise.all([
            this.mean.getFeatures(options),
            this.deviation.getFeatures(options),
        ]);
        const byStart = new Map(deviations.map((feature) => [`${feature.start}-${feature.end}`, feature.value]));
        return means
            .filter((feature) => byStart.has(`${feature.start}-${feature.end}`))
            .map((feature) => {
                const value = feature.value + this.factor * byStart.get(`${feature.start}-${feature.end}`);
                return { ...feature, value: feature.value >= 0 ? Math.max(0, value) : value };
            });
    }

    async defaultVisibilityWindow() {
        return -1;
    }

    supportsWholeGenome() {
        return true;
    }
}

/** What igv.js has to draw for a pair: observed, and imputed, with its band where there is a deviation. */
async function configurations(browser, pair) {
    const name = `${pair.cell_type} ${pair.assay}`;
    const common = { height: HEIGHT, autoscaleGroup: name };
    const plain = { ...common, type: "wig", format: "bigwig" };
    const wanted = [];
    if (pair.observed) {
        wanted.push({ ...plain, name: `${name} observed`, url: pair.observed, color: colour(half(pair.colour, 0)) });
    }
    if (pair.imputed && pair.sd) {
        const reader = async (url) => (await browser.createTrack({ type: "wig", format: "bigwig", url })).featureSource;
        const [mean, deviation] = await Promise.all([reader(pair.imputed), reader(pair.sd)]);
        const layer = (label, featureSource, shade) => ({ type: "wig", name: label, featureSource, color: colour(shade) });
        wanted.push({
            ...common,
            type: "merged",
            alpha: 1,
            name: `${name} imputed ± sd`,
            tracks: [
                layer("imputed + sd", new Bound(mean, deviation, 1), half(pair.colour, 255)),
                layer("imputed", mean, pair.colour),
                layer("imputed − sd", new Bound(mean, deviation, -1), half(pair.colour, 60)),
            ],
        });
    } else if (pair.imputed) {
        wanted.push({ ...plain, name: `${name} imputed`, url: pair.imputed, color: colour(pair.colour) });
    }
    return wanted;
}

/** Pairs, and which of them are drawn. */
class Picker {
    constructor(browser, pairs) {
        this.browser = browser;
        this.pairs = pairs;
        this.drawn = new Map();
        this.filter = document.getElementById("filter");
        this.filter.addEventListener("input", () => this.list());
    }

    async draw(pair) {
        const tracks = [];
        this.drawn.set(pair, tracks);
        for (const wanted of await configurations(this.browser, pair)) {
            const track = await this.browser.loadTrack(wanted);
            // Observed and imputed are drawn to one scale; layers take the group only once they are there.
            track.autoscaleGroup = wanted.autoscaleGroup;
            tracks.push(track);
        }
        await this.browser.updateViews();
        this.tell();
    }

    remove(pair) {
        for (const track of this.drawn.get(pair) ?? []) {
            this.browser.removeTrack(track);
        }
        this.drawn.delete(pair);
        this.tell();
    }

    /** For whoever watches the page from outside. */
    tell() {
        document.body.dataset.tracks = [...this.drawn.values()].flat().length;
    }

    list() {
        const words = this.filter.value.toLowerCase().split(/\s+/).filter(Boolean);
        const found = this.pairs.filter((pair) => {
            const text = `${pair.cell_type} ${pair.assay}`.toLowerCase();
            return words.every((word) => text.includes(word));
        });
        document.getElementById("count").textContent =
            `${found.length} of ${this.pairs.length} pairs` + (found.length > LISTED ? `, the first ${LISTED} listed` : "");
        document.getElementById("pairs").replaceChildren(...found.slice(0, LISTED).map((pair) => this.item(pair)));
    }

    item(pair) {
        const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: this.drawn.has(pair) });
        box.addEventListener("change", () => {
            const done = box.checked ? this.draw(pair) : Promise.resolve(this.remove(pair));
            done.catch(fail);
        });
        const swatch = Object.assign(document.createElement("span"), { className: "swatch" });
        swatch.style.background = colour(pair.colour);
        const text = Object.assign(document.createElement("span"), { textContent: `${pair.cell_type} ${pair.assay} ` });
        const kinds = ["observed", "imputed", "sd"].filter((kind) => pair[kind]).join(", ");
        text.append(Object.assign(document.createElement("span"), { className: "kinds", textContent: kinds }));
        const label = document.createElement("label");
        label.append(box, swatch, text);
        const item = document.createElement("li");
        item.append(label);
        return item;
    }
}

function fail(error) {
    const place = document.getElementById("error");
    place.textContent = `${error.message ?? error}`;
    place.hidden = false;
    document.body.dataset.state = "failed";
}

async function main() {
    const given = await (await fetch("view.json")).json();
    document.title = `${given.source} – predictd`;
    document.getElementById("source").textContent = `${given.source} on ${given.genome}`;
    const browser = await igv.createBrowser(document.getElementById("igv"), {
        loadDefaultGenomes: false,
        genomeList: [],
        // Nothing is looked up on other machines.
        search: false,
        reference: {
            id: given.genome,
            name: given.genome,
            format: "chromsizes",
            fastaURL: "genome.chrom.sizes",
            wholeGenomeView: true,
            chromosomeOrder: given.chromosomes,
        },
        locus: given.locus,
        tracks: given.regions.map((region) => ({ ...region, type: "annotation", displayMode: "SQUISHED", indexed: false, height: 40 })),
        showSVGButton: true,
    });
    const picker = new Picker(browser, given.pairs);
    picker.list();
    for (const index of given.shown) {
        await picker.draw(given.pairs[index]);
    }
    picker.list();
    document.body.dataset.state = "drawn";
}

main().catch(fail);
