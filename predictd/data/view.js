// The page of `predictd view`: a list of pairs to choose from, and igv.js, which draws what was chosen.
"use strict";

// So many pairs are listed at once; the filter finds the others.
const LISTED = 200;
const HEIGHT = 60;

// So many genes are offered for what was typed.
const OFFERED = 12;
const NARROW = 700;

const colour = (values) => `rgb(${values.join(",")})`;
// igv.js takes names for HTML.
const plain = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
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

/** Colours of a pair's observed and imputed signal, and of the edges of its band. */
const shades = (base) => ({ observed: half(base, 0), imputed: base, upper: half(base, 255), lower: half(base, 60) });

/** What igv.js has to draw for a pair: observed, and imputed, with its band where there is a deviation. */
async function configurations(browser, pair, what) {
    const name = plain(`${pair.cell_type} ${pair.assay}`);
    const shade = shades(pair.colour);
    const single = { height: HEIGHT, type: "wig", format: "bigwig" };
    const wanted = [];
    if (pair.observed) {
        wanted.push({ ...single, name: `${name} observed`, url: pair.observed, color: colour(shade.observed) });
    }
    if (pair.imputed && pair.sd) {
        const reader = async (url) => (await browser.createTrack({ type: "wig", format: "bigwig", url })).featureSource;
        const [mean, deviation] = await Promise.all([reader(pair.imputed), reader(pair.sd)]);
        const layer = (label, featureSource, values) => ({ type: "wig", name: label, featureSource, color: colour(values) });
        wanted.push({
            height: HEIGHT,
            type: "merged",
            alpha: 1,
            name: `${name} imputed ± sd`,
            tracks: [
                layer("imputed + sd", new Bound(mean, deviation, 1), shade.upper),
                layer("imputed", mean, shade.imputed),
                layer("imputed − sd", new Bound(mean, deviation, -1), shade.lower),
            ],
        });
    } else if (pair.imputed) {
        wanted.push({ ...single, name: `${name} ${what}`, url: pair.imputed, color: colour(shade.imputed) });
    }
    return wanted;
}

/** How the axes of all tracks are scaled; kept in the address, so that the page comes back as it was. */
class Scaling {
    static GROUPS = {
        pair: (pair) => `${pair.cell_type} ${pair.assay}`,
        assay: (pair) => pair.assay,
        all: () => "all",
        own: () => undefined,
    };

    constructor(changed) {
        this.scale = document.getElementById("scale");
        this.log = document.getElementById("log");
        document.getElementById("controls").addEventListener("submit", (event) => event.preventDefault());
        for (const control of [this.scale, this.log]) {
            control.addEventListener("change", () => changed().catch(fail));
        }
    }

    apply(pair, track) {
        track.autoscaleGroup = Scaling.GROUPS[this.scale.value](pair);
        track.autoscale = track.autoscaleGroup === undefined;
        track.logScale = this.log.checked;
    }
}

/** What of the page is kept in its address: #locus=…&pairs=…&scale=…&log=1. */
const Address = {
    read: () => new URLSearchParams(location.hash.slice(1)),
    write(values) {
        const kept = new URLSearchParams(Object.entries(values).filter(([, value]) => value));
        history.replaceState(null, "", `#${kept}`);
    },
};

/** Pairs, and which of them are drawn. */
class Picker {
    constructor(browser, given, kept) {
        Object.assign(this, { browser, pairs: given.pairs, what: given.what });
        this.drawn = new Map();
        this.filter = document.getElementById("filter");
        this.filter.addEventListener("input", () => this.list());
        this.scaling = new Scaling(() => this.rescale());
        this.scaling.scale.value = kept.get("scale") in Scaling.GROUPS ? kept.get("scale") : "pair";
        this.scaling.log.checked = kept.has("log");
        browser.on("locuschange", () => this.keep());
    }

    async draw(pair) {
        const tracks = [];
        this.drawn.set(pair, tracks);
        for (const wanted of await configurations(this.browser, pair, this.what)) {
            const track = await this.browser.loadTrack(wanted);
            // Layers take a scale only once they are there.
            this.scaling.apply(pair, track);
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

    async rescale() {
        for (const [pair, tracks] of this.drawn) {
            for (const track of tracks) {
                this.scaling.apply(pair, track);
            }
        }
        await this.browser.updateViews();
        for (const track of [...this.drawn.values()].flat()) {
            track.trackView.repaintViews();
        }
        this.keep();
    }

    keep() {
        if (document.body.dataset.state === "drawn") {
            Address.write({
                locus: loci(this.browser),
                pairs: [...this.drawn.keys()].map((pair) => this.pairs.indexOf(pair)).join(","),
                scale: this.scaling.scale.value,
                log: this.scaling.log.checked ? "1" : "",
            });
        }
    }

    /** The legend, and for whoever watches the page from outside. */
    tell() {
        const drawn = [...this.drawn.keys()];
        const legend = document.getElementById("legend");
        document.getElementById("of-observed").hidden = !drawn.some((pair) => pair.observed);
        document.getElementById("of-imputed").hidden = !drawn.some((pair) => pair.imputed && !pair.sd);
        document.getElementById("of-band").hidden = !drawn.some((pair) => pair.imputed && pair.sd);
        // In the strongest colour that is drawn: of grey ones the shades differ least.
        const strength = (values) => Math.max(...values) - Math.min(...values);
        const base = drawn.map((pair) => pair.colour).sort((one, other) => strength(other) - strength(one))[0];
        for (const [kind, values] of Object.entries(base ? shades(base) : {})) {
            for (const swatch of legend.querySelectorAll(`.${kind}`)) {
                swatch.style.background = colour(values);
            }
        }
        document.body.dataset.tracks = [...this.drawn.values()].flat().length;
        this.keep();
    }

    list() {
        const words = this.filter.value.toLowerCase().split(/\s+/).filter(Boolean);
        const found = this.pairs.filter((pair) => {
            const text = `${pair.cell_type} ${pair.assay}`.toLowerCase();
            return words.every((word) => text.includes(word));
        });
        document.getElementById("count").textContent =
            `${found.length} of ${this.pairs.length}` + (found.length > LISTED ? `, the first ${LISTED} listed` : "");
        document.getElementById("pairs").replaceChildren(...found.slice(0, LISTED).map((pair) => this.item(pair)));
    }

    item(pair) {
        const made = (tag, properties) => Object.assign(document.createElement(tag), properties);
        const box = made("input", { type: "checkbox", checked: this.drawn.has(pair) });
        box.addEventListener("change", () => {
            const done = box.checked ? this.draw(pair) : Promise.resolve(this.remove(pair));
            done.catch(fail);
        });
        const swatch = made("span", { className: "swatch" });
        swatch.style.background = colour(pair.colour);
        const kinds = [pair.observed && "observed", pair.imputed && (pair.sd ? `${this.what} ± sd` : this.what)];
        const label = made("label", {});
        label.append(
            box,
            swatch,
            made("span", { className: "name", textContent: `${pair.cell_type} ${pair.assay}` }),
            made("span", { className: "kinds", textContent: kinds.filter(Boolean).join(", ") }),
        );
        const item = made("li", {});
        item.append(label);
        return item;
    }
}

/** On narrow screens igv.js's bar takes several lines. */
function wrapBar(root) {
    const style = document.createElement("style");
    style.textContent = `.igv-windowsize-panel-container { white-space: nowrap; }
    @media (max-width: ${NARROW}px) {
        .igv-navbar.igv-navbar, .igv-navbar .igv-navbar-left-container.igv-navbar-left-container { flex-wrap: wrap; height: auto; }
        .igv-navbar .igv-navbar-left-container.igv-navbar-left-container { justify-content: flex-start; }
        .igv-navbar .igv-windowsize-panel-container { display: none !important; }
        .igv-track-label.igv-track-label { max-width: 90%; font-size: x-small; }
    }`;
    root.append(style);
}

/** Names of genes, offered in igv.js's own search field while the user types. */
function offer(root, genes) {
    const field = root.querySelector(".igv-search-input");
    field.placeholder = genes.length ? "gene or place" : "place";
    field.title = `${field.placeholder}, e.g. ${genes.length ? "MYC or " : ""}chr1:1,000,001-1,100,000`;
    const list = Object.assign(document.createElement("datalist"), { id: "genes" });
    field.after(list);
    field.setAttribute("list", list.id);
    field.addEventListener("focus", () => field.select());
    field.addEventListener("input", () => {
        const typed = field.value.trim().toUpperCase();
        const found = typed ? genes.filter((gene) => gene.toUpperCase().startsWith(typed)) : [];
        list.replaceChildren(...found.slice(0, OFFERED).map((value) => Object.assign(document.createElement("option"), { value })));
    });
}

const loci = (browser) => [browser.currentLoci()].flat().join(" ");

function fail(error) {
    const place = document.getElementById("error");
    place.textContent = `${error.message ?? error}`;
    place.hidden = false;
    document.body.dataset.state = "failed";
}

async function main() {
    document.getElementById("choice").open = window.innerWidth > NARROW;
    const given = await (await fetch("view.json")).json();
    const kept = Address.read();
    document.title = `${given.source} – predictd`;
    document.getElementById("source").textContent = `${given.source} on ${given.genome}`;
    document.getElementById("what").textContent = given.what;
    const annotation = { type: "annotation", indexed: false };
    const genes = { ...annotation, name: "Genes", url: "genes.bed.gz", format: "bed", displayMode: "EXPANDED", height: 70, searchable: true };
    const regions = given.regions.map((region) => ({ ...annotation, ...region, name: plain(region.name), displayMode: "SQUISHED", height: 40 }));
    const place = document.getElementById("igv");
    const browser = await igv.createBrowser(place, {
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
        tracks: [...(given.genes.length ? [genes] : []), ...regions],
        showSVGButton: true,
    });
    wrapBar(place.shadowRoot);
    offer(place.shadowRoot, given.genes);
    const picker = new Picker(browser, given, kept);
    picker.list();
    const shown = kept.has("pairs") ? kept.get("pairs").split(",").filter(Boolean) : given.shown;
    for (const pair of shown.map((index) => given.pairs[index]).filter(Boolean)) {
        await picker.draw(pair);
    }
    if (kept.has("locus")) {
        await browser.search(kept.get("locus"));
    }
    picker.list();
    document.body.dataset.locus = loci(browser);
    document.body.dataset.state = "drawn";
}

main().catch(fail);
