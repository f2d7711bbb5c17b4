/* Written by tools/contract.mjs from src/serve/openapi.json; not to be edited. */

/** A resource of FHIR 4.0.1 in JSON */
export type FhirResource = {
  resourceType: string;
};

/** Every answer of 400 and above. */
export type Error = {
  error: {
    /** One line: what was wrong. Never a word of a note. */
    message: string;
    type: "invalid_request_error" | "authentication_error" | "permission_error" | "not_found_error" | "rate_limit_error" | "server_error";
    /** The kind of fault, stable: bad_json, bad_request, unsupported, missing_key, wrong_key, locked_out, forbidden, bad_host, bad_origin, not_found, wrong_method, wrong_type, too_large, length_required, busy, too_slow, stopping, internal */
    code: string;
    /** How to mend it; may be empty. */
    hint: string;
  };
};

export type Span = {
  /** first byte in the UTF-8 text as sent */
  start: number;
  /** behind the last byte */
  end: number;
};

export type EvidenceSpan = {
  /** first byte in the UTF-8 text as sent */
  start: number;
  /** behind the last byte */
  end: number;
  /** how much the stretch speaks for the DRG; below 0: against it */
  score: number;
};

export type Drg = {
  /** MS-DRG code */
  drg: number;
  title: string;
  /** relative weight; payment = base rate × weight */
  weight: number;
  /** geometric mean length of stay, days */
  gmlos: number;
  /** "01" to "25", "PRE", "ALL" or "-" */
  mdc: string;
  /** short name; may be empty */
  mdc_name: string;
  type: "medical" | "surgical" | "ungroupable";
  severity: "MCC" | "CC" | "none" | "without MCC" | "CC/MCC" | "any";
  /** id of the base DRG within the grouper */
  base: number;
};

export type DrgRequest = {
  /** The note, UTF-8, at most 4 MiB. */
  text: string;
  /** Yours; comes back in the record and in the review list. At most 200 bytes. */
  id?: string;
  /** One of /v1/models; else the first that codes notes. */
  model?: string;
  /** DRGs ranked */
  k?: number;
  /** Add the words that carry the DRG. 400 unsupported where the model's entry in /v1/models says evidence false. */
  evidence?: boolean;
  /** DRGs whose evidence is wanted; else the first of the ranking. One that the model does not tell apart has no spans. */
  evidence_drgs?: number[];
  /** Generative models: reasonings to draw. 400 unsupported for a classifier. */
  samples?: number;
  /** The DRG that was billed, if known; it is kept with the prediction and compared. */
  billed?: number;
  /** Generative models: answer as server-sent events (reasoning as it is written, then the record). */
  stream?: boolean;
};

export type Prediction = {
  drg: number;
  title: string;
  /** probability, 0 to 1 */
  p: number;
  weight: number;
  gmlos: number;
  mdc: string;
  severity: string;
};

export type DrgRecord = {
  /** as sent; else "" */
  id: string;
  /** The number under which this answer stands in the audit trail; reviews and ratings name it. */
  prediction: number;
  model: string;
  grouper: "v34" | "v43";
  note_sha256: string;
  /** best first */
  predictions: Prediction[];
  /** the part of the note that was read (the hospital course, else the whole) */
  section: Span;
  /** read by the model */
  tokens: number;
  /** the section was longer than the model reads */
  truncated: boolean;
  /** Of the first prediction. Only when asked for, and where that is among evidence_drgs. */
  evidence?: EvidenceSpan[];
  /** Only when asked for. Integrated gradients; spans of a DRG by falling score (docs/evidence.md). */
  evidence_by_drg?: Array<{
    drg: number;
    spans: EvidenceSpan[];
  }>;
  /** Generative models: the reasoning of the best answer. */
  reasoning?: string;
  /** Generative models with samples: every answer drawn. */
  answers?: Array<{
    text: string;
    drg: number | null;
    reasoning: string;
  }>;
  /** as sent */
  billed?: number;
  /** weight of the first prediction less that of the billed DRG; only with billed */
  weight_difference?: number;
  /** |weight_difference| × p of the first prediction when it differs from billed, else 0: what a worklist sorts by; only with billed */
  priority?: number;
};

/** A mean over notes and its 95 % bootstrap interval. */
export type Interval = {
  value: number;
  /** 2.5 % */
  low: number;
  /** 97.5 % */
  high: number;
};

export type BatchSummary = {
  /** coded */
  notes: number;
  /** of them with a billed DRG; the figures below are over these */
  billed: number;
  agreed: number;
  cmi_predicted?: Interval;
  cmi_billed?: Interval;
  /** predicted less billed, paired */
  cmi_difference?: Interval;
};

export type BatchJob = {
  /** random, 32 hex digits */
  job: string;
  status: "running" | "done" | "failed" | "cancelled";
  model: string;
  /** UTC, such as 2026-11-25T20:15:00.000Z */
  created: string;
  /** UTC, such as 2026-11-25T20:15:00.000Z */
  finished?: string;
  /** of the upload */
  bytes: number;
  /** of it so far: progress = bytes_read / bytes */
  bytes_read: number;
  /** read so far; at the end the total */
  notes: number;
  /** notes coded */
  done: number;
  /** notes that could not be coded; their records have error instead of predictions */
  failed: number;
  notes_per_second: number;
  summary?: BatchSummary;
  /** why the whole job failed */
  error?: string;
};

export type Model = {
  /** name of its directory */
  id: string;
  object: "model";
  /** seconds since 1970 */
  created: number;
  owned_by: "casemix";
  task: "classify" | "generate";
  grouper: string;
  /** DRGs it tells apart; 0 for a generative model */
  labels: number;
  max_tokens: number;
  /** of the weights that were opened */
  model_sha256: string;
  /** of the adapter; "" without */
  adapter_sha256: string;
  evidence: boolean;
  /** may be used in /v1/drg */
  codes_notes: boolean;
  /** may be used in /v1/chat/completions */
  chat: boolean;
};

export type ReviewRequest = {
  /** DrgRecord.prediction */
  prediction: number;
  decision: "accept" | "change" | "comment";
  /** decision change: the reviewer's DRG, of the model's grouper */
  drg?: number;
  /** at most 4,000 bytes; stored */
  comment?: string;
};

export type Review = {
  /** number */
  review: number;
  /** UTC, such as 2026-11-25T20:15:00.000Z */
  time: string;
  reviewer: string;
  prediction: number;
  note_id: string;
  note_sha256: string;
  model: string;
  grouper: string;
  predicted: number;
  p: number;
  billed: number | null;
  decision: string;
  /** the DRG that stands after the review: the predicted one, or the reviewer's */
  drg: number;
  comment: string;
};

export type RatingRequest = {
  /** DrgRecord.prediction, of an answer with a reasoning */
  prediction: number;
  helpfulness: number;
  accuracy: number;
  /** at most 4,000 bytes; stored */
  comment?: string;
};

export type Rating = {
  rating: number;
  /** UTC, such as 2026-11-25T20:15:00.000Z */
  time: string;
  rater: string;
  prediction: number;
  note_id: string;
  note_sha256: string;
  model: string;
  helpfulness: number;
  accuracy: number;
  comment: string;
};

/** Of each rater's last rating of an answer. */
export type Agreement = {
  ratings: number;
  answers: number;
  raters: string[];
  helpfulness: {
    mean: number | null;
    deviation: number | null;
    /** of 1, 2, 3, 4, 5 */
    counts: number[];
  };
  accuracy: {
    mean: number | null;
    deviation: number | null;
    /** of 1, 2, 3, 4, 5 */
    counts: number[];
  };
  pairs: {
    helpfulness: Array<{
      raters: string[];
      /** answers that both have rated */
      shared: number;
      kappa_linear: number | null;
      /** Cohen 1968; null where it is not defined */
      kappa_quadratic: number | null;
      /** share of equal ratings */
      exact: number;
    }>;
    accuracy: Array<{
      raters: string[];
      /** answers that both have rated */
      shared: number;
      kappa_linear: number | null;
      /** Cohen 1968; null where it is not defined */
      kappa_quadratic: number | null;
      /** share of equal ratings */
      exact: number;
    }>;
  };
};

export type Dashboard = {
  /** in the store */
  predictions: number;
  /** predictions with a decision; the last decision of a prediction counts */
  reviewed: number;
  agreed: number;
  agreement: number | null;
  by_mdc: Array<{
    mdc: string;
    mdc_name: string;
    reviewed: number;
    agreed: number;
    agreement: number;
  }>;
  by_week: Array<{
    /** Monday of the week, UTC */
    date: string;
    reviewed: number;
    agreed: number;
    agreement: number;
    /** of the predictions reviewed */
    mean_p: number;
  }>;
  confidence: Array<{
    /** Monday of the week, UTC */
    date: string;
    predictions: number;
    mean_p: number;
    /** predictions with p in [0,0.1), …, [0.9,1] */
    deciles: number[];
    /** population stability index of the deciles against the first week with 50 predictions or more; over 0.2 is usually called a shift */
    stability: number | null;
  }>;
};

export type Session = {
  /** of the key; "local" without keys; "" when not authenticated */
  name: string;
  role: "" | "code" | "review" | "admin";
  keys_required: boolean;
  /** notes are kept with predictions (the operator turned it on) */
  stores_notes: boolean;
  /** 0: kept without limit */
  retention_days: number;
  /** bytes */
  note_limit: number;
  /** bytes */
  batch_limit: number;
  version: string;
};

export type Health = {
  status: "ok" | "stopping";
  version: string;
  /** seconds */
  uptime: number;
  /** notes waiting */
  queue: number;
  queue_limit: number;
};

/** As OpenAI's. Members that would change the answer and are not here are refused. */
export type ChatRequest = {
  model?: string;
  messages: Array<{
    role: "system" | "user" | "assistant";
    content: string;
  }>;
  max_tokens?: number;
  /** the newer name of max_tokens */
  max_completion_tokens?: number;
  temperature?: number;
  top_p?: number;
  top_k?: number;
  min_p?: number;
  repetition_penalty?: number;
  n?: number;
  seed?: number;
  stop?: string | string[];
  stream?: boolean;
  stream_options?: {
    include_usage?: boolean;
  };
  /** accepted, not used */
  user?: string;
  /** behind <answer> only DRG titles that exist */
  answer_trie?: boolean;
};

/** As OpenAI's. Members that would change the answer and are not here are refused. */
export type CompletionRequest = {
  model?: string;
  max_tokens?: number;
  /** the newer name of max_tokens */
  max_completion_tokens?: number;
  temperature?: number;
  top_p?: number;
  top_k?: number;
  min_p?: number;
  repetition_penalty?: number;
  n?: number;
  seed?: number;
  stop?: string | string[];
  stream?: boolean;
  stream_options?: {
    include_usage?: boolean;
  };
  /** accepted, not used */
  user?: string;
  /** behind <answer> only DRG titles that exist */
  answer_trie?: boolean;
  prompt: string;
};

export type ChatCompletion = {
  id: string;
  object: "chat.completion";
  created: number;
  model: string;
  choices: Array<{
    index: number;
    message: {
      role: string;
      content: string;
    };
    finish_reason: "stop" | "length";
  }>;
  usage: {
    prompt_tokens: number;
    completion_tokens: number;
    total_tokens: number;
  };
};

export type Completion = {
  id: string;
  object: "text_completion";
  created: number;
  model: string;
  choices: Array<{
    index: number;
    text: string;
    finish_reason: "stop" | "length";
  }>;
  usage: {
    prompt_tokens: number;
    completion_tokens: number;
    total_tokens: number;
  };
};

export type ModelList = {
  object: "list";
  data: Model[];
};

export type DrgEntry = Drg & {
  grouper: string;
  /** all severities of the base, lightest first, this one among them */
  ladder: Drg[];
};

export type DrgList = {
  grouper: string;
  /** that match */
  total: number;
  /** best match first; without q in rising code */
  drgs: Drg[];
};

export type JobList = {
  /** newest first; yours, for role admin everybody's */
  jobs: BatchJob[];
};

export type ReviewList = {
  total: number;
  /** newest first */
  reviews: Review[];
};

export type RatingList = {
  total: number;
  /** newest first */
  ratings: Rating[];
};

export type Note = {
  note_sha256: string;
  text: string;
  /** UTC, such as 2026-11-25T20:15:00.000Z */
  time: string;
};
