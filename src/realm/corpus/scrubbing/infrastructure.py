"""Forms of secrets of version control, clouds, hosting and chat."""

from __future__ import annotations

from realm.corpus.scrubbing import proofs
from realm.corpus.scrubbing.formats import LIKELY, POSSIBLE, Format
from realm.corpus.scrubbing.formats import by_prefix as _P

_W = r"[A-Za-z0-9_-]"
_A = r"[A-Za-z0-9]"
_H = r"[0-9a-f]"

VERSION_CONTROL = (
    _P("github_token", "ghp_ gho_ ghu_ ghs_ ghr_", _A + "{36,}", confirms=proofs.crc32_base62),
    _P("github_fine_grained_token", "github_pat_", r"[A-Za-z0-9_]{36,}"),
    _P("gitlab_token", "glpat- glptt- gldt- glrt- glcbt- glft- glimt- glagent- glsoat- glffct- gloas- glwt-",
       r"[A-Za-z0-9_.-]{16,}"),
    _P("gitlab_runner_token", "GR1348941", _W + "{16,60}"),
    _P("gitlab_session", "_gitlab_session=", _A + "{16,64}"),
    _P("bitbucket_token", "ATBB", _A + "{24,64}"),
    _P("bitbucket_repository_token", "ATCTT3xFfG", r"[A-Za-z0-9_=-]{60,}"),
    _P("atlassian_token", "ATATT3xFfG", r"[A-Za-z0-9_=-]{60,}"),
    _P("atlassian_organisation_token", "ATOATT3xFfG ATST", r"[A-Za-z0-9_=-]{60,}"),
    _P("sourcegraph_token", "sgp_ sgd_ slk_", r"(?:[A-Za-z0-9]{8,20}_)?[0-9a-fA-F]{40,64}"),
    _P("codeberg_token", "gta_ gto_", _A + "{36,64}", LIKELY),
    _P("phabricator_token", "api-", r"[a-z0-9]{28}", POSSIBLE),
    _P("phabricator_client_token", "cli-", r"[a-z0-9]{28}", POSSIBLE),
    _P("gitkraken_token", "gk_live_ gk_test_", _A + "{20,64}"),
)  # fmt: skip

CLOUD = (
    Format("aws_access_key", r"(?:A3T[A-Z0-9]|AKIA|ASIA|ABIA|ACCA|AIDA|AROA|AGPA|AIPA|ANPA|ANVA|APKA|ASCA)"
                             r"[A-Z0-9]{16}\b",
           prefix=4),
    Format("aws_secret_key", r"(?i:aws[_.\-a-z ]{0,20}(?:secret|sec)[_.\-a-z ]{0,20}|secret_?access_?key|s"
                             r"ecretAccessKey)"
           r"['\"\\]{0,3}[ \t]{0,5}(?:=>|:=|=|:|,)?[ \t]{0,5}['\"\\]{0,3}([A-Za-z0-9/+=]{40})\b"),
    Format("aws_session_token",
           r"(?i:aws_?session_?token|security_?token)['\"\\]{0,3}[ \t]{0,5}(?:=>|:=|=|:|,)[ \t]{0,5}"
           r"['\"\\]{0,3}([A-Za-z0-9/+=]{100,})"),
    _P("aws_bedrock_key", "ABSKQmVkcm9ja0FQSUtleS", r"[A-Za-z0-9+/=]{60,}"),
    _P("aws_bedrock_key", "bedrock-api-key-", r"[A-Za-z0-9+/=_-]{20,}"),
    _P("aws_marketplace_token", "amzn.mws.", r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"),
    _P("amazon_oauth_client", "amzn1.application-oa2-client. amzn1.oa2-cs.v1.", r"[0-9a-f]{32,64}"),
    Format("aws_presigned_url", r"X-Amz-Signature=([0-9a-f]{64})\b", LIKELY),
    _P("google_api_key", "AIza", _W + "{35,36}"),
    _P("google_oauth_secret", "GOCSPX-", _W + "{24,40}"),
    _P("google_oauth_token", "ya29.", r"[A-Za-z0-9_.-]{20,}"),
    _P("google_refresh_token", "1//0", _W + "{30,}", LIKELY),
    _P("google_authorization_code", "4/0A", _W + "{30,}", LIKELY),
    _P("firebase_server_key", "AAAA", _W + r"{7}:[A-Za-z0-9_-]{130,}"),
    Format("google_service_account_key",
           r"private_key_id['\"\\]{0,4}[ \t]{0,3}:[ \t]{0,3}['\"\\]{0,4}([0-9a-f]{40})"),
    Format("gcs_hmac_key", r"(GOOG(?:1E[A-Z0-9]{57}|[A-Z0-9]{20}))\b"),
    Format("azure_client_secret", r"([A-Za-z0-9_~.-]{3}[0-9]Q~[A-Za-z0-9_~.-]{31,34})", bare=False),
    Format("azure_storage_key", r"(?i:AccountKey)[ \t]{0,3}=[ \t]{0,3}([A-Za-z0-9+/]{42,88}={0,2})",
           prefix=0),
    Format("azure_shared_access_key",
           r"(?i:SharedAccessKey)[ \t]{0,3}=[ \t]{0,3}([A-Za-z0-9+/]{40,88}={0,2})"),
    Format("azure_signature", r"[?&;]sig=([A-Za-z0-9%+/_-]{40,100}(?:%3[dD]|=){0,2})", LIKELY),
    Format("azure_app_configuration", r"azconfig\.io;Id=[^;\s\x00]{4,100};Secret=([A-Za-z0-9+/=]{20,120})"),
    Format("azure_function_key",
                                 r"azurewebsites\.net/[^\s?\"'\x00]{1,}\?(?:[a-z]{1,20}=[^&\s\x00]{1,60}&){0,3}code=([A-Za-z0-9"
                                 r"_%/+=-]{40,100})"),
    Format("azure_search_key", r"([A-Za-z0-9]{42}AzSe[A-Za-z0-9]{6})\b"),
    Format("azure_container_registry_key", r"([A-Za-z0-9+/]{42}\+ACR[A-D][A-Za-z0-9]{6})\b"),
    Format("azure_service_key",
                                r"([A-Za-z0-9+/]{33,76}(?:AzFu|ACDb|\+ASb|\+AEh|AIoT|AzCa|\+ABa|AMQP)[A-Za-z0-9+/]{5,6}(?:==|="
                                r")?)",
           LIKELY),
    Format("azure_openai_key", r"([A-Za-z0-9]{52}JQQJ99[A-Za-z0-9]{2}AC[A-Za-z0-9]{22})\b"),
    Format("azure_cognitive_key", r"([A-Za-z0-9]{52}JQQJ9[9A-D][A-Za-z0-9]{25})\b"),
    Format("azure_devops_token", r"([A-Za-z0-9]{76}AZDO[A-Za-z0-9]{4})\b"),
    _P("alibaba_access_key", "LTAI", _A + "{12,26}"),
    _P("tencent_secret_id", "AKID", _A + "{28,40}"),
    _P("huawei_access_key", "HPUA", r"[A-Z0-9]{16}", LIKELY),
    _P("volcengine_access_key", "AKLT", _A + "{30,50}"),
    _P("yandex_cloud_key", "AQVN", _W + "{32,50}"),
    _P("yandex_iam_token", "t1.", r"[A-Za-z0-9_-]{2,}=?=?\.?[A-Za-z0-9_=-]*[A-Za-z0-9_-]{60,}={0,2}"),
    _P("yandex_access_key", "YCAJ YCA YCM YCN YCP YCO YCo", r"[A-Za-z0-9_-]{20,40}", LIKELY),
    _P("yandex_oauth_token", "y0_ y1_ y2_ y3_", r"A[A-Za-z0-9_-]{35,60}"),
    _P("digitalocean_token", "dop_v1_ doo_v1_ dor_v1_", _H + "{40,64}"),
    _P("digitalocean_spaces_key", "DO00", r"[A-Z0-9]{16}", LIKELY),
    _P("scaleway_access_key", "SCW", r"[A-Z0-9]{17}"),
    _P("exoscale_key", "EXO", r"[0-9a-f]{24}"),
    _P("scalingo_token", "tk-us-", _W + "{40,60}"),
    _P("flyio_token", "fo1_", _W + "{30,60}"),
    _P("flyio_token", "fm1r_ fm1a_ fm2_", r"[A-Za-z0-9+/]{40,}={0,3}"),
    _P("heroku_key", "HRKU-", _W + "{30,80}"),
    _P("render_key", "rnd_", _A + "{28,40}", LIKELY),
    _P("vercel_token", "vcp_ vci_ vca_ vcr_ vck_ vercel_blob_rw_", r"[A-Za-z0-9_]{24,80}", LIKELY),
    _P("netlify_token", "nfp_ nfc_ nfo_ nfu_ nfb_", _A + "{28,60}"),
    _P("supabase_token", "sbp_", _H + "{32,64}"),
    _P("supabase_key", "sb_secret_ sb_publishable_", _W + "{20,64}"),
    _P("neon_key", "napi_", r"[a-z0-9]{40,70}"),
    _P("planetscale_token", "pscale_tkn_ pscale_pw_ pscale_oauth_", r"[A-Za-z0-9=._-]{30,80}"),
    _P("cloudflare_origin_key", "v1.0-", r"[0-9a-f]{20,30}-[0-9a-f]{120,}"),
    _P("cloudflare_token", "cfut_ cfat_ cfk_ cfp_", r"[A-Za-z0-9_-]{36,64}"),
    _P("tailscale_key", "tskey-", r"(?:[a-z]{3,12}-)?[A-Za-z0-9]{6,24}(?:CNTRL)?-[A-Za-z0-9]{16,48}"),
    _P("defined_networking_key", "dnkey-", r"[a-z0-9=_-]{20,80}"),
    Format("ngrok_token", r"(?i:ngrok)[^\n\x00]{0,40}?[^A-Za-z0-9]([123][A-Za-z0-9]{25,30}_[A-Za-z0-9"
                          r"]{20,24})\b"),
    _P("prefect_key", "pnu_ pnb_", _A + "{32,40}"),
    _P("modal_token", "ak- as-", r"[A-Za-z0-9]{22}", LIKELY),
    _P("docker_swarm_token", "SWMTKN-1-", r"[a-z0-9]{40,60}-[a-z0-9]{20,30}"),
    Format("k3s_token", r"K10[0-9a-f]{64}::(?:server|node):[A-Za-z0-9]{16,64}"),
    _P("google_ai_key", "AQ.Ab8", _W + "{30,80}"),
    _P("runpod_key", "rpa_", r"[A-Z0-9]{30,48}[A-Za-z0-9]{0,8}"),
    _P("lambda_key", "secret_", r"[a-z0-9-]{6,40}_[0-9a-f]{28,64}\.[A-Za-z0-9]{20,40}", LIKELY),
)  # fmt: skip

CHAT = (
    _P("slack_token", "xoxb- xoxp- xoxa- xoxr- xoxs- xoxo- xoxe- xoxc-", r"[0-9]{1,16}-[A-Za-z0-9-]{9,}"),
    Format("slack_legacy_token", r"xox[aor]-(?:[0-9]{1,2}-)?[0-9A-Za-z]{8,48}", LIKELY, prefix=5),
    _P("slack_cookie", "xoxd-", r"[A-Za-z0-9%+/=-]{20,}"),
    _P("slack_config_token", "xoxe. xoxe-", r"(?:xox[bp]-)?[0-9]{1,2}-[A-Za-z0-9]{100,}"),
    _P("slack_app_token", "xapp-", r"[0-9]{1,2}-[A-Z0-9]{8,14}-[0-9]{8,16}-[a-z0-9]{20,80}"),
    _P("slack_workflow_token", "xwfp-", r"[A-Za-z0-9-]{24,}"),
    Format("slack_webhook", r"hooks\.slack(?:-gov)?\.com/(?:services|workflows|triggers)/([A-Za-z0-9+/_-"
                            r"]{24,90})", bare=False),
    Format("discord_webhook", r"(?:discord|discordapp)\.com/api/(?:v[0-9]{1,2}/)?webhooks/([0-9]{16,20}/[A"
                              r"-Za-z0-9_-]{40,80})", bare=False),
    Format("discord_client_id",
           r"(?i:discord)[^\n\x00]{0,40}?[\s=:,\"'>]([0-9]{17,19})(?:[^0-9]|$)", POSSIBLE),
    Format("discord_token", r"([MNO][A-Za-z0-9_-]{22,27}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{26,40})"),
    _P("discord_token", "mfa.", _W + "{80,100}"),
    Format("telegram_token", r"([0-9]{5,16}:A[A-Za-z0-9_-]{34})(?:[^A-Za-z0-9_-]|$)"),
    Format("teams_webhook", r"webhook\.office\.com/webhookb2/([0-9a-f-]{36}@[0-9a-f-]{36}/IncomingWebhook/"
                            r"[0-9a-f]{32}/[0-9a-f-]{36})",
           bare=False),
    Format("google_chat_webhook",
           r"chat\.googleapis\.com/v1/spaces/[A-Za-z0-9_-]{5,40}/messages\?key="
           r"([A-Za-z0-9_&=%-]{40,})", bare=False),
    Format("matrix_token", r"syt_[A-Za-z0-9+/=]{2,120}_[A-Za-z]{20}_[A-Za-z0-9]{6}"),
    Format("matrix_token", r"(?:mat_|mct_)[A-Za-z0-9]{20,40}_[A-Za-z0-9]{6}"),
    _P("webex_token", "ZDI0", _A + r"{40,90}_[A-Za-z0-9]{4}_[0-9a-f-]{36}"),
    Format("lark_webhook", r"/open-apis/bot/(?:v2/)?hook/([0-9a-f-]{30,40})", bare=False),
    Format("dingtalk_webhook", r"robot/send\?access_token=([0-9a-f]{64})", bare=False),
    Format("wecom_webhook", r"webhook/send\?key=([0-9a-f-]{36})", bare=False),
    Format("ifttt_webhook", r"/with/key/([A-Za-z0-9_-]{20,64})", bare=False),
    Format("zapier_webhook", r"hooks\.zapier\.com/hooks/catch/([0-9]{4,12}/[A-Za-z0-9]{5,12})", bare=False),
    Format("facebook_token", r"EAA[A-Za-z0-9]{60,}\b", prefix=3),
    Format("facebook_token", r"([0-9]{13,16}\|[A-Za-z0-9_-]{26,30})", LIKELY, bare=False),
    Format("instagram_token", r"IGQ[WV][A-Za-z0-9_-]{60,}"),
    Format("twitter_bearer_token", r"A{22}[A-Za-z0-9%]{60,110}", proof=proofs.many_kinds),
    Format("twitch_token", r"oauth:([a-z0-9]{30})\b"),
)  # fmt: skip
