// Written by tools/typescript_client.py: change its source, then run it.
/** How providers and frameworks tell what a call has used; `usage.ts` reads it. */

export interface Form {
  /** Members, one of which shows the form. */
  readonly marks: readonly string[];
  readonly input: readonly string[];
  readonly output: readonly string[];
  readonly cached: readonly string[];
  readonly written: readonly string[];
  readonly reasoning: readonly string[];
  readonly total: readonly string[];
  readonly besideInput: readonly string[];
  readonly others: readonly string[];
  readonly isCacheInside: boolean;
  readonly isReasoningInside: boolean;
  readonly isTotalBare: boolean;
}

/** In the order in which they are tried. A dot leads inside, a plus adds. */
export const FORMS: readonly Form[] = [
  {
    marks: ["input", "output"],
    input: ["input"],
    output: ["output"],
    cached: ["input_cached_tokens", "cache_read_input_tokens", "input_cache_read", "input_cached", "cacheRead"],
    written: ["cache_creation_input_tokens", "input_cache_write", "cacheWrite", "input_cache_creation+input_cache_creation_5m+input_cache_creation_1h", "input_ephemeral_5m_input_tokens+input_ephemeral_1h_input_tokens"],
    reasoning: ["output_reasoning_tokens", "output_reasoning", "reasoning_tokens"],
    total: ["total", "totalTokens"],
    besideInput: [],
    others: ["input_", "output_"],
    isCacheInside: false,
    isReasoningInside: false,
    isTotalBare: false,
  },
  {
    marks: ["prompt_token_count", "promptTokenCount"],
    input: ["prompt_token_count", "promptTokenCount"],
    output: ["candidates_token_count", "candidatesTokenCount", "response_token_count", "responseTokenCount"],
    cached: ["cached_content_token_count", "cachedContentTokenCount"],
    written: [],
    reasoning: ["thoughts_token_count", "thoughtsTokenCount"],
    total: ["total_token_count", "totalTokenCount"],
    besideInput: ["tool_use_prompt_token_count", "toolUsePromptTokenCount"],
    others: [],
    isCacheInside: true,
    isReasoningInside: false,
    isTotalBare: false,
  },
  {
    marks: ["total_input_tokens", "total_output_tokens"],
    input: ["total_input_tokens"],
    output: ["total_output_tokens"],
    cached: ["total_cached_tokens"],
    written: [],
    reasoning: ["total_thought_tokens"],
    total: ["total_tokens"],
    besideInput: ["total_tool_use_tokens"],
    others: [],
    isCacheInside: true,
    isReasoningInside: false,
    isTotalBare: false,
  },
  {
    marks: ["prompt_eval_count", "eval_count"],
    input: ["prompt_eval_count"],
    output: ["eval_count"],
    cached: [],
    written: [],
    reasoning: [],
    total: [],
    besideInput: [],
    others: [],
    isCacheInside: true,
    isReasoningInside: true,
    isTotalBare: false,
  },
  {
    marks: ["prompt_tokens", "completion_tokens"],
    input: ["prompt_tokens"],
    output: ["completion_tokens"],
    cached: ["prompt_tokens_details.cached_tokens", "prompt_tokens_details.cache_read_tokens", "prompt_cache_hit_tokens", "cache_read_input_tokens", "cached_tokens", "num_cached_tokens", "cached_input_tokens", "cache_read_tokens"],
    written: ["prompt_tokens_details.cache_write_tokens", "prompt_tokens_details.cache_creation_tokens", "cache_creation_input_tokens", "cache_write_tokens", "cache_write_input_tokens", "cache_creation_tokens"],
    reasoning: ["completion_tokens_details.reasoning_tokens", "reasoning_tokens", "reasoning_output_tokens"],
    total: ["total_tokens"],
    besideInput: [],
    others: [],
    isCacheInside: true,
    isReasoningInside: true,
    isTotalBare: false,
  },
  {
    marks: ["cache_read_tokens"],
    input: ["input_tokens"],
    output: ["output_tokens"],
    cached: ["cache_read_tokens"],
    written: ["cache_write_tokens"],
    reasoning: ["details.reasoning_tokens", "details.thoughts_tokens", "reasoning_tokens"],
    total: ["total_tokens"],
    besideInput: [],
    others: [],
    isCacheInside: true,
    isReasoningInside: true,
    isTotalBare: false,
  },
  {
    marks: ["cache_read_input_tokens", "cache_creation_input_tokens"],
    input: ["input_tokens"],
    output: ["output_tokens"],
    cached: ["cache_read_input_tokens"],
    written: ["cache_creation_input_tokens"],
    reasoning: ["output_tokens_details.thinking_tokens", "output_tokens_details.reasoning_tokens", "reasoning_tokens"],
    total: ["total_tokens"],
    besideInput: [],
    others: [],
    isCacheInside: false,
    isReasoningInside: true,
    isTotalBare: true,
  },
  {
    marks: ["input_tokens_details", "output_tokens_details"],
    input: ["input_tokens"],
    output: ["output_tokens"],
    cached: ["input_tokens_details.cached_tokens", "input_tokens_details.cache_read_tokens"],
    written: ["input_tokens_details.cache_write_tokens", "input_tokens_details.cache_creation_tokens"],
    reasoning: ["output_tokens_details.reasoning_tokens", "output_tokens_details.thinking_tokens"],
    total: ["total_tokens"],
    besideInput: [],
    others: [],
    isCacheInside: true,
    isReasoningInside: true,
    isTotalBare: false,
  },
  {
    marks: ["input_token_details", "output_token_details"],
    input: ["input_tokens"],
    output: ["output_tokens"],
    cached: ["input_token_details.cache_read", "input_token_details.flex_cache_read", "input_token_details.priority_cache_read", "input_token_details.cached_tokens"],
    written: ["input_token_details.cache_creation", "input_token_details.ephemeral_5m_input_tokens+input_token_details.ephemeral_1h_input_tokens"],
    reasoning: ["output_token_details.reasoning", "output_token_details.flex_reasoning", "output_token_details.priority_reasoning"],
    total: ["total_tokens"],
    besideInput: [],
    others: [],
    isCacheInside: true,
    isReasoningInside: true,
    isTotalBare: false,
  },
  {
    marks: ["inputTokenDetails", "outputTokenDetails"],
    input: ["inputTokens"],
    output: ["outputTokens"],
    cached: ["inputTokenDetails.cacheReadTokens", "cachedInputTokens"],
    written: ["inputTokenDetails.cacheWriteTokens"],
    reasoning: ["outputTokenDetails.reasoningTokens", "reasoningTokens"],
    total: ["totalTokens"],
    besideInput: [],
    others: [],
    isCacheInside: true,
    isReasoningInside: true,
    isTotalBare: false,
  },
  {
    marks: ["cachedInputTokens", "reasoningTokens", "reasoningOutputTokens"],
    input: ["inputTokens"],
    output: ["outputTokens"],
    cached: ["cachedInputTokens"],
    written: [],
    reasoning: ["reasoningTokens", "reasoningOutputTokens"],
    total: ["totalTokens"],
    besideInput: [],
    others: [],
    isCacheInside: true,
    isReasoningInside: true,
    isTotalBare: false,
  },
  {
    marks: ["inputTokens", "outputTokens"],
    input: ["inputTokens"],
    output: ["outputTokens"],
    cached: ["cacheReadInputTokens"],
    written: ["cacheWriteInputTokens", "cacheCreationInputTokens"],
    reasoning: [],
    total: [],
    besideInput: [],
    others: [],
    isCacheInside: false,
    isReasoningInside: true,
    isTotalBare: false,
  },
  {
    marks: ["reasoning_output_tokens"],
    input: ["input_tokens"],
    output: ["output_tokens"],
    cached: ["cached_input_tokens", "cached_tokens"],
    written: ["cache_write_tokens"],
    reasoning: ["reasoning_output_tokens"],
    total: ["total_tokens"],
    besideInput: [],
    others: [],
    isCacheInside: true,
    isReasoningInside: true,
    isTotalBare: false,
  },
  {
    marks: ["input_tokens", "output_tokens", "cached_input_tokens", "cache_write_tokens", "reasoning_tokens"],
    input: ["input_tokens"],
    output: ["output_tokens"],
    cached: ["cached_input_tokens", "prompt_tokens_details.cached_tokens", "cached_tokens", "prompt_cache_hit_tokens"],
    written: ["cache_write_tokens", "cache_write_input_tokens", "cache_creation_tokens"],
    reasoning: ["reasoning_tokens"],
    total: ["total_tokens"],
    besideInput: [],
    others: [],
    isCacheInside: false,
    isReasoningInside: false,
    isTotalBare: false,
  },
  {
    marks: ["total_tokens", "totalTokens", "total"],
    input: [],
    output: [],
    cached: [],
    written: [],
    reasoning: [],
    total: ["total_tokens", "totalTokens", "total"],
    besideInput: [],
    others: [],
    isCacheInside: true,
    isReasoningInside: true,
    isTotalBare: false,
  },
];

export const NO_FURTHER: readonly string[] = ["input_tokens", "output_tokens"];
export const OF_MONEY: readonly string[] = ["cost", "price", "usd"];
/** Part of a bucket → where it may stand. In brackets, which of the items of a list are added up. */
export const PARTS: Readonly<Record<string, readonly string[]>> = {
  cache_write_1h_tokens: ["cache_write_1h_tokens", "cache_creation.ephemeral_1h_input_tokens", "prompt_tokens_details.cache_creation_token_details.ephemeral_1h_input_tokens", "input_token_details.ephemeral_1h_input_tokens", "input_cache_creation_1h", "input_ephemeral_1h_input_tokens", "cacheDetails[1H]"],
  input_audio_tokens: ["input_audio_tokens", "prompt_tokens_details.audio_tokens", "input_tokens_details.audio_tokens", "input_token_details.audio_tokens", "input_token_details.audio", "promptTokensDetails[AUDIO]", "prompt_tokens_details[AUDIO]", "input_tokens_by_modality[AUDIO]", "input_audio"],
  cache_audio_read_tokens: ["cache_audio_read_tokens", "input_token_details.cached_tokens_details.audio_tokens", "cacheTokensDetails[AUDIO]", "cache_tokens_details[AUDIO]", "cached_tokens_by_modality[AUDIO]"],
  output_audio_tokens: ["output_audio_tokens", "completion_tokens_details.audio_tokens", "output_tokens_details.audio_tokens", "output_token_details.audio_tokens", "output_token_details.audio", "candidatesTokensDetails[AUDIO]", "candidates_tokens_details[AUDIO]", "responseTokensDetails[AUDIO]", "response_tokens_details[AUDIO]", "output_tokens_by_modality[AUDIO]", "output_audio"],
  input_image_tokens: ["input_image_tokens", "prompt_tokens_details.image_tokens", "input_tokens_details.image_tokens", "input_token_details.image_tokens", "promptTokensDetails[IMAGE]", "prompt_tokens_details[IMAGE]", "input_tokens_by_modality[IMAGE]", "input_image"],
  cache_image_read_tokens: ["cache_image_read_tokens", "input_token_details.cached_tokens_details.image_tokens", "cacheTokensDetails[IMAGE]", "cache_tokens_details[IMAGE]", "cached_tokens_by_modality[IMAGE]"],
  output_image_tokens: ["output_image_tokens", "completion_tokens_details.image_tokens", "output_tokens_details.image_tokens", "candidatesTokensDetails[IMAGE]", "candidates_tokens_details[IMAGE]", "output_tokens_by_modality[IMAGE]", "output_image"],
  input_video_tokens: ["input_video_tokens", "promptTokensDetails[VIDEO]", "prompt_tokens_details[VIDEO]", "input_tokens_by_modality[VIDEO]", "input_video"],
  cache_video_read_tokens: ["cache_video_read_tokens", "cacheTokensDetails[VIDEO]", "cache_tokens_details[VIDEO]", "cached_tokens_by_modality[VIDEO]"],
  output_video_tokens: ["output_video_tokens", "candidatesTokensDetails[VIDEO]", "candidates_tokens_details[VIDEO]", "output_tokens_by_modality[VIDEO]", "output_video"],
};
export const OF_CACHE: Readonly<Record<string, string>> = {"cache_audio_read_tokens": "input_audio_tokens", "cache_image_read_tokens": "input_image_tokens", "cache_video_read_tokens": "input_video_tokens"};
export const TIERS: readonly string[] = ["service_tier", "serviceTier", "traffic_type", "trafficType", "speed"];
/** Terms → members, any of which shows them. */
export const TIER_MARKS: Readonly<Record<string, readonly string[]>> = {"flex": ["input_token_details.flex", "input_token_details.flex_cache_read", "output_token_details.flex", "output_token_details.flex_reasoning", "input_flex", "input_flex_cache_read", "output_flex", "output_flex_reasoning"], "priority": ["input_token_details.priority", "input_token_details.priority_cache_read", "output_token_details.priority", "output_token_details.priority_reasoning", "input_priority", "input_priority_cache_read", "output_priority", "output_priority_reasoning"]};
export const STANDARD: readonly string[] = ["auto", "default", "on_demand", "standard"];
export const COST: readonly string[] = ["cost_usd", "cost.total_cost", "cost.total", "cost", "total_cost", "total_cost_usd"];
export const COST_PARTS: readonly (readonly string[])[] = [["input_cost", "output_cost"], ["prompt_cost", "completion_cost"], ["cost.input", "cost.output"]];
export const GEO = "inference_geo";
export const ANYWHERE: readonly string[] = ["", "auto", "default", "global", "none", "not_available"];
export const TICKS = "cost_in_usd_ticks";
export const TICKS_PER_DOLLAR = 10000000000;
export const UPSTREAM = "cost_details.upstream_inference_cost";
export const IS_OWN_KEY = "is_byok";
