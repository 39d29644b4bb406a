// Sentences become tokens as in Python: any characters are plain text, special tokens' names too.

export class Tokens {
  /** @param tokenizer of @huggingface/tokenizers; @param settings `tokens` of evf_sam.json. */
  constructor(tokenizer, settings) {
    Object.assign(this, { tokenizer, settings });
    const escaped = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
    const cuts = settings.special.map((name) => `(?<=${escaped(name[0])})(?=${escaped(name.slice(1))})`);
    this.insideSpecial = new RegExp(cuts.join("|"));
  }

  /** Token ids of a sentence; an Error says what is wrong with it. */
  encode(sentence, semantic) {
    const { start, end, limit, semantic: mark } = this.settings;
    let ids = this.plainIds(sentence);
    if (!ids.length) throw new Error("Type what to look for.");
    if (semantic) ids = mark === null ? this.plainIds(`[semantic] ${sentence}`) : [mark, ...ids];
    ids = [start, ...ids, end];
    if (ids.length > limit)
      throw new Error(`The sentence has ${ids.length} tokens, the model reads ${limit} at the most: shorten it.`);
    return ids;
  }

  plainIds(sentence) {
    const { normalizer, pre_tokenizer: preTokenizer, model } = this.tokenizer;
    const words = preTokenizer(normalizer ? normalizer(sentence) : sentence);
    const parts = words.flatMap((word) => word.split(this.insideSpecial));
    return parts.flatMap((part) => model([part])).map((token) => model.tokens_to_ids.get(token) ?? model.unk_token_id);
  }
}
