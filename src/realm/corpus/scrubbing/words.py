"""Words around a value: which make it a secret, which make it harmless, and who gives out tokens."""

from __future__ import annotations

import re
from functools import cache

from realm.corpus.scrubbing.lists import listed

_PASSWORDS = listed(
    """
    password passwd passwort passphrase passcode pwd pass psw pswd pw userpass dbpass rootpass adminpass
    userpassword dbpassword requirepass masterauth storepass keypass secret contrasena contraseña senha
    wachtwoord haslo hasło motdepasse kennwort losenord lösenord salasana parola mdp пароль 密码 パスワード
    """
)
_TOKENS = listed(
    """
    token tokens secret secrets apikey apikeys apisecret apitoken authtoken accesstoken accesskey secretkey
    privatekey clientsecret credential credentials creds cred auth authorization authorisation bearer jwt
    hapikey dsn sessionid sessid sid cookie licensekey encryptionkey masterkey signingkey authkey appkey
    webhook passkey otp totp seed mnemonic pat
    """
)
_QUALIFIERS = listed(
    """
    api access secret private auth encryption encrypt signing sign master app application service license
    licence account storage shared deploy ssh session server client consumer admin root user org team bot
    live test prod production sandbox rest developer dev read write ingest insert query connection
    integration security subscription hmac crypt cipher aes jwt oauth web webhook
    """
)
_HARMLESS = listed(
    """
    public pub csrf xsrf nonce foreign partition sort cache index idx id ids identifier name names file
    files filename path paths dir folder url uri urls endpoint host type types count counts length len size
    version format field fields column prefix suffix event hash sha sha1 sha256 md5 checksum digest accessor
    fingerprint algorithm alg keyboard limit max min policy label placeholder hint prompt regex pattern
    required enabled disabled visible error message msg input reset strength expiry expires expiration ttl
    timeout usage kind mode status state env var variable ref arn alias title description selector hidden
    help schema class style usersecretsid method provider issuer location store manager helper validator
    generator parser handler factory chars alphabet address addr mint symbol commit revision rev srcrev
    integrity etag signature kid sbom image tag uuid guid
    """
)
_STEPS = listed(
    """
    on if all one two first second next last per single multi each render shadow light depth color base
    forward opaque compiler optimization sub post pre full
    """
)
"""A pass of these is a step of work, or a test that passes."""
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z\u00c0-\uffff]+|[0-9]+")

PASSWORD, TOKEN, KEY, NONE = 3, 2, 1, 0


@cache
def weigh(key: str) -> int:
    """Say how much a name promises: a PASSWORD, a TOKEN, a mere KEY, or NONE of them."""
    words = [word.lower() for word in _WORD.findall(key)][-8:]
    if not words:
        return NONE
    joined = "".join(words)
    if words[-1] == "pass" and len(words) > 1 and words[-2] in _STEPS:
        return NONE
    if words[-1] in _HARMLESS or (
        len(words) > 1 and _HARMLESS & {"public", "pub", "csrf", "xsrf"} & set(words)
    ):
        return NONE
    if (
        set(words)
        & _HARMLESS
        & {"nonce", "foreign", "partition", "sha256", "md5", "checksum", "hash", "usersecretsid"}
    ):
        return NONE
    last = [word for word in words if not word.isdigit()][-2:]
    if last and (last[-1] in _PASSWORDS or last[0] in _PASSWORDS - {"secret", "pass", "pw"}):
        return PASSWORD
    if any(word in _TOKENS for word in words) or any(joined.endswith(word) for word in _JOINED):
        return TOKEN
    if "key" in words or "keys" in words or joined.endswith("key"):
        return TOKEN if (_QUALIFIERS | PROVIDERS) & set(words) else KEY
    return PASSWORD if joined.endswith(("password", "passwd", "passphrase")) else NONE


def ends_harmless(key: str) -> bool:
    """Tell whether a name is that of a name, a place, a count or the like."""
    words = _WORD.findall(key)
    return bool(words) and words[-1].lower() in _HARMLESS


_JOINED = ("token", "secret", "apikey", "accesskey", "secretkey", "privatekey", "credentials", "authkey")

PROVIDERS = listed(
    """
    abstract abuseipdb accuweather adafruit adobe adyen agora airbrake airship airtable aiven akamai algolia
    alibaba aliyun alchemy alconost alienvault allsports alphavantage amazon ambee amplitude anthropic
    apacta apify apilayer apimetrics apitemplate apollo appcues appsynergy appveyor artifactory asana
    assemblyai atlassian audd auth0 authress autodesk aviationstack axonaut aylien azure backblaze
    bannerbear beamer beebole besttime betterstack billomat bintray bitbar bitbucket bitcoinaverage bitfinex
    bitly bitmex bittrex blablabus blazemeter blitapp blogger bombbomb boostnote borgbase box braintree
    brandfetch browserstack browshot buddyns budibase bugherd bugsnag buildkite bulbul buttercms caflou
    calendarific calendly cannyio capsulecrm captaindata carboninterface cashboard caspio censys
    centralstation cexio chartmogul chatbot chatfuel checio checklyhq checkout checkvist cicero circleci
    clearbit clickhelp clicksend clickup cliengo clinchpad clockify clockwork cloudelements cloudflare
    cloudimage cloudinary cloudmersive cloudplan cloudsmith cloverly cloze clustdoc codacy codecov codemagic
    codequiry cohere coinapi coinbase coinlayer coinlib collect2 column commercejs commodities companyhub
    confluent contentful conversiontools convertapi convertkit convier countrylayer courier coveralls
    craftmypdf crossbrowsertesting crowdin cryptocompare currencycloud currencyfreaks currencylayer currents
    currentsapi customerguru customerio d7network dailyco dandelion databox databricks datadog datafire
    datagov deepai deepgram deepl deepseek delighted demio denodeploy deputy detectlanguage detectify dfuse
    diffbot digicert digitalocean discord discourse disqus ditto dnscheck docker docparser documo docusign
    doppler dotmailer dovico dreamstudio drone droneci dropbox duffel duply dwolla dyspatch eagleeye
    easyinsight easypost ecostruxure edamam edenai eightxeight elastic elevenlabs enablex endorlabs enigma
    enterpriseflow envoy eraser etherscan ethplorer etsy eventbrite everhour exchangerate exportsdk
    extractorapi facebook faceplusplus fastforex fastly feedier fetchrss fibery figma fileio finage
    financialmodelingprep findl finicity finnhub firebase fixer flatio fleetbase flexport flickr flightapi
    flightlabs flightstats float flowflu flutterwave flyio fmfw formbucket formcraft formio formsite
    foursquare frameio freshbooks freshdesk front fulcrum fullstory fusebill fxmarket gcp geckoboard gemini
    gengo geoapify geocode geocodify geocodio geoipifi getblock getemail getgeoapi getgist getresponse
    getsandbox ghost github gitlab gitter glassnode gnews gocanvas gocardless goodday google googlemaps
    grafana graphcms graphhopper groovehq groq gtmetrix guardianapi gumroad guru gyazo happyscribe harvest
    hasura hellosign helpcrunch helpscout heroku hetzner hive hiveage holidayapi holistic honeycomb host
    htmltopdf hubspot huggingface humanity hunter hybiscus hypertrack ibm iconfinder iexapis iexcloud
    imagekit imagga impala infobip infracost infura insightly instagram instamojo intercom interseller
    intra42 intrinio invoiceocean ionic ipapi ipgeolocation ipify ipinfo ipquality ipstack jenkins jfrog
    jira jotform jumpcloud juro kairos kaleyra kanban kanbantool karma keen kickbox klaviyo klipfolio
    knapsackpro kontent kraken kucoin kylas languagelayer larksuite launchdarkly leadfeeder lemlist lendflow
    lessannoyingcrm lexigram linear linearapi linemessaging linenotify linkedin linkpreview linode liveagent
    livestorm llama loadmill lob locationiq loggly loginradius logzio lokalise looker loyverse luno magento
    magnetic mailboxlayer mailchimp mailerlite mailgun mailjet mailmodo mailsac mandrill mapbox mapquest
    marketstack mattermost mavenlink maxmind mediastack meistertask meraki mesibo messagebird metaapi
    metabase metrilo mindmeister miro mistral mite mixmax mixpanel mockaroo moderation monday mongodb
    monkeylearn moonclerk moosend moralis mrticktock mux myfreshworks myintervals nasdaq ncr nethunt netlify
    netsuite neutrino newrelic newsapi newscatcher nexmo nftport ngrok nicereply nightfall nimble nitro
    noticeable notion nozbe npm nugetapi numverify nutritionix nvidia nylas nytimes oanda okta omnisend
    onedesk onelogin onepagecrm onesignal onfleet onwater oopspam openai opencage opengraphr openrouter
    opensea openuv openvpn openweather opsgenie optimizely orbit owlbot packagecloud pagarme pagerduty
    pandadoc pandascore paperform paralleldots parsehub parsers parseur partnerstack pastebin paydirt paymo
    paymongo paypal paystack pdflayer pdfshift peopledatalabs pepipost perplexity phraseaccess phrase pinata
    pipedream pipedrive pivotaltracker pixabay plaid planetscale planviewleankit planyo plivo podio pollsapi
    poloniex polygon portainer positionstack postageapi postbacks poste posthog postman postmark powrbot
    prefect privacy privateai prodpad prospectcrm protocolsio proxycrawl pubnub pulumi purestake pushbullet
    pusher pushover pyxis qase qualaroo qubole quickmetrics ramp rapidapi rapid7 rawg razorpay reachmail
    readme reallysimple rebrandly redis rechargepayments reddit redhat refiner rentman repairshopr replicate
    replyio requestfinance restpack retool rev revampcrm ringcentral ritekit roaring rocketreach rollbar
    route4me rownd rubygems runrunit salad salesblink salesflare salesforce salesmate sanity satismeter
    saucelabs scalingo scalr scrapeowl scraperapi scraperbox scrapersite scrapestack scrapfly scrapingant
    scrapingbee screenshotapi screenshotlayer scrutinizer securitytrails segment selectpdf semaphore
    sendbird sendgrid sendinblue sentiment sentry serphouse serpstack settlemint shodan shopify shortcut
    shotstack shutterstock signable signalwire signaturit signupgenius sigopt simfin simplesat simplynoted
    simvoly sinch sirv siteleaf skrappio skybiometry slack smartsheet smartystreets smooch snipcart
    snowflake snyk sonar sonarcloud sonarqube sourcegraph speechtext splunk sportsmonk spotify square
    squarespace squareup sslmate statuscake statuspage stitchdata stockdata storecove stormboard stormglass
    storyblok storychief strava streak stripe stytch sugester sumo sumologic supabase supernotes surge
    surveyanyplace surveybot surveysparrow survicate swell swiftype tailscale tallyfy tatum taxjar teamgate
    teamviewer teamwork technicalanalysis telegram telesign telnyx terraform testingbot testrail textmagic
    theoddsapi thinkific thousandeyes ticketmaster tickettailor tiingo tineswebhook tmetric todoist toggl
    tomtom tokeet tomorrowio tradier transferwise travelpayouts travisci trelloapi trello tru trustpilot
    tumblr turso twelvedata twilio twist twitch twitter tyntec typeform typetalk ubidots uclassify unifyid
    unplugg unsplash upcdatabase uplead uploadcare upstash uptimerobot upwave urlscan userflow userstack
    vagrant vatlayer vault vbout vercel verifier verimail veriphone versioneye viewneo virustotal
    visualcrossing voicegain voodoosms vouchery vpnapi vultr vyte wakatime walkscore wandb weatherbit
    weatherstack webex webflow webscraper webscraping websitepulse whoxy wise wistia wit wix woocommerce
    workday workstack wrike xai xero yandex yelp youneedabudget youtube zapier zeltyapi zendesk zenkit
    zenrows zenscrape zenserp zeplin zerobounce zerotier zipapi zipbooks zipcode zohocrm zonkafeedback zoom
    zulip runscope solarwinds splunkobservability papertrail bitwarden lastpass onepassword keycloak ldap
    bamboo teamcity nexus sidekiq mysql postgres mongo pganalyze railway buildbuddy infisical dynatrace
    openweathermap voyage pinecone weaviate qdrant langsmith wolfram kagi serpapi tavily etoro binance bybit
    okx gateio huobi bitstamp kakao naver baidu qiniu upyun tencent huawei ovh scaleway exoscale ionos gandi
    namecheap godaddy dnsimple porkbun
    """
)
"""Who gives out tokens, as their names stand in code; short and ordinary words are left out of prose."""
