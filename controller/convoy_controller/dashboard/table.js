// A table whose rows keep their elements while they stay: NiceGUI's own draws cells with templates anew at each update.
export default {
  template: `
    <q-markup-table v-if="rows.length" flat dense wrap-cells class="convoy-table" role="region" :aria-label="caption" :tabindex="scrolls ? 0 : null">
      <thead>
        <tr>
          <th v-for="column in columns" :key="column.label" scope="col" :class="{ 'convoy-wide': !column.always }">
            {{ column.label }}
          </th>
        </tr>
      </thead>
      <tbody>
        <tr v-for="row in rows" :key="row.key">
          <component
            v-for="(cell, index) in row.cells"
            :key="index"
            :is="index ? 'td' : 'th'"
            :scope="index ? null : 'row'"
            :class="{ 'convoy-wide': !columns[index].always }"
          >
            <component v-for="(part, place) in cell" :key="place" :is="part.block ? 'div' : 'span'" class="convoy-part">
              <strong v-if="part.label">{{ part.label + " " }}</strong>
              <a v-if="part.href" :href="part.href">{{ part.text }}</a>
              <span v-else-if="part.glyph" class="convoy-sign" :class="part.tone">
                <span aria-hidden="true">{{ part.glyph }}</span> {{ part.text }}
              </span>
              <convoy-ago v-else-if="part.at" :at="part.at" :title="part.text"></convoy-ago>
              <progress v-else-if="part.most" :value="part.done" :max="part.most" :aria-label="part.text"></progress>
              <template v-else>{{ part.text }}</template>
            </component>
          </component>
        </tr>
      </tbody>
    </q-markup-table>
    <p v-else class="convoy-quiet">{{ empty }}</p>
  `,
  // What is wider than the page must be reached by keyboard, and what is not should be no stop on the way.
  data: () => ({ scrolls: false }),
  mounted() {
    this.watcher = new ResizeObserver(() => this.measure());
    this.watcher.observe(this.$el.parentElement);
    this.measure();
  },
  updated() {
    this.measure();
  },
  unmounted() {
    this.watcher.disconnect();
  },
  methods: {
    measure() {
      this.scrolls = this.$el.scrollWidth > this.$el.clientWidth;
    },
  },
  props: {
    caption: String,
    columns: Array,
    rows: Array,
    empty: String,
  },
};
