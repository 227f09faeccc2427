BEGIN TRANSACTION;
CREATE TABLE api_key (
	id INTEGER NOT NULL, 
	secret_digest BLOB NOT NULL, 
	tenant VARCHAR(100) NOT NULL, 
	name VARCHAR(200) NOT NULL, 
	can_read BOOLEAN NOT NULL, 
	can_submit BOOLEAN NOT NULL, 
	can_admin BOOLEAN NOT NULL, 
	created_at_s DOUBLE NOT NULL, 
	revoked_at_s DOUBLE, 
	CONSTRAINT pk_api_key PRIMARY KEY (id), 
	CONSTRAINT uq_api_key_secret_digest UNIQUE (secret_digest)
);
CREATE TABLE audit (
	id INTEGER NOT NULL, 
	tenant VARCHAR(100) NOT NULL, 
	who VARCHAR(200) NOT NULL, 
	action VARCHAR(40) NOT NULL, 
	subject VARCHAR(200) NOT NULL, 
	address VARCHAR(100) NOT NULL, 
	created_at_s DOUBLE NOT NULL, 
	CONSTRAINT pk_audit PRIMARY KEY (id)
);
CREATE TABLE best (
	workload_digest BLOB NOT NULL, 
	target_digest BLOB NOT NULL, 
	toolchain VARCHAR(100) NOT NULL, 
	objective VARCHAR(16) NOT NULL, 
	config TEXT NOT NULL, 
	space_digest BLOB NOT NULL, 
	latency_us DOUBLE NOT NULL, 
	bound_us DOUBLE, 
	energy_uj DOUBLE, 
	peak_bytes BIGINT, 
	latency_cycles DOUBLE, 
	verification VARCHAR(16) NOT NULL, 
	confirmations INTEGER NOT NULL, 
	run VARCHAR(64) NOT NULL, 
	number BIGINT NOT NULL, 
	CONSTRAINT pk_best PRIMARY KEY (workload_digest, target_digest, toolchain, objective), 
	CONSTRAINT fk_best_workload_digest FOREIGN KEY(workload_digest) REFERENCES workload (digest), 
	CONSTRAINT fk_best_target_digest FOREIGN KEY(target_digest) REFERENCES target (digest)
);
INSERT INTO "best" VALUES(X'721088AECB28968508032155EE563598DB86DAB438E8455CEA3EBBD706A0E143',X'D58F526D9EE18FAD5C6CF76C0ABC451E171912A5C484C3C68CC2B9E082B00E6D','3','latency','{"tile_0":16,"tile_1":16,"reduction_tile_0":64,"loop_order":"0 1","load_slots":3,"store_slots":2,"tiles_in_flight":1,"cores":2}',X'70B09C397CA2032BB82A4754E355E74549E35328041FC482D2EE1C014824E8C6',3.00735294117647056211e+00,2.24,7.19537788235294151206e+00,14848,2045.0,'value-exact',3,'e718866494c60e0eab6c843c098f8ba8',3);
INSERT INTO "best" VALUES(X'31311DA5A5B3981F286ADC2689200D19F76B3B1C90B3A8E2D45C79C7476EB23C',X'D58F526D9EE18FAD5C6CF76C0ABC451E171912A5C484C3C68CC2B9E082B00E6D','3','latency','{"groups":"0 1 2","kernel_721088aecb289685":"{\"tile_0\":16,\"tile_1\":16,\"reduction_tile_0\":64,\"loop_order\":\"0 1\",\"load_slots\":3,\"store_slots\":2,\"tiles_in_flight\":1,\"cores\":2}"}',X'0000000000000000000000000000000000000000000000000000000000000000',3.00735294117647056211e+00,2.24,7.19537788235294151206e+00,0,2045.0,'value-exact',3,'e718866494c60e0eab6c843c098f8ba8',9);
CREATE TABLE effort (
	run_id INTEGER NOT NULL, 
	workload_id INTEGER NOT NULL, 
	trials_budget BIGINT NOT NULL, 
	regret_estimate DOUBLE, 
	CONSTRAINT pk_effort PRIMARY KEY (run_id, workload_id), 
	CONSTRAINT fk_effort_run_id FOREIGN KEY(run_id) REFERENCES run (id), 
	CONSTRAINT fk_effort_workload_id FOREIGN KEY(workload_id) REFERENCES workload (id)
);
INSERT INTO "effort" VALUES(1,2,6,1.02251131317166723752e-03);
INSERT INTO "effort" VALUES(1,1,6,1.02251131317166723752e-03);
CREATE TABLE job (
	id INTEGER NOT NULL, 
	uid VARCHAR(64) NOT NULL, 
	tenant VARCHAR(100) NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	spec TEXT NOT NULL, 
	upload_digest BLOB, 
	idempotency_key VARCHAR(200), 
	request_digest BLOB NOT NULL, 
	cancel_requested BOOLEAN DEFAULT 0 NOT NULL, 
	runner VARCHAR(200) NOT NULL, 
	lease_token BIGINT NOT NULL, 
	lease_until_s DOUBLE, 
	attempts INTEGER NOT NULL, 
	result TEXT, 
	error TEXT NOT NULL, 
	created_at_s DOUBLE NOT NULL, 
	finished_at_s DOUBLE, priority INTEGER DEFAULT '0' NOT NULL, lease_s DOUBLE, model_name VARCHAR(100) DEFAULT '' NOT NULL, target_name VARCHAR(200) DEFAULT '' NOT NULL, objective VARCHAR(100) DEFAULT '' NOT NULL, trials BIGINT DEFAULT '0' NOT NULL, 
	CONSTRAINT pk_job PRIMARY KEY (id), 
	CONSTRAINT uq_job_uid UNIQUE (uid), 
	CONSTRAINT uq_job_tenant_idempotency_key UNIQUE (tenant, idempotency_key), 
	CONSTRAINT fk_job_upload_digest FOREIGN KEY(upload_digest) REFERENCES upload (digest), 
	CONSTRAINT ck_job_state CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled'))
);
CREATE TABLE job_event (
	job_id INTEGER NOT NULL, 
	number BIGINT NOT NULL, 
	kind VARCHAR(40) NOT NULL, 
	body TEXT NOT NULL, 
	created_at_s DOUBLE NOT NULL, 
	CONSTRAINT pk_job_event PRIMARY KEY (job_id, number), 
	CONSTRAINT fk_job_event_job_id FOREIGN KEY(job_id) REFERENCES job (id)
);
CREATE TABLE model (
	digest BLOB NOT NULL, 
	name VARCHAR(200) NOT NULL, 
	CONSTRAINT pk_model PRIMARY KEY (digest)
);
INSERT INTO "model" VALUES(X'31311DA5A5B3981F286ADC2689200D19F76B3B1C90B3A8E2D45C79C7476EB23C','model');
CREATE TABLE run (
	id INTEGER NOT NULL, 
	uid VARCHAR(64) NOT NULL, 
	model_digest BLOB, 
	target_digest BLOB NOT NULL, 
	toolchain VARCHAR(100) NOT NULL, 
	objective VARCHAR(16) NOT NULL, 
	seed BIGINT NOT NULL, 
	device VARCHAR(200) NOT NULL, 
	tuner_version VARCHAR(100) NOT NULL, 
	trials_budget BIGINT NOT NULL, 
	settings TEXT NOT NULL, 
	versions TEXT NOT NULL, 
	job VARCHAR(64), 
	started_at_s DOUBLE NOT NULL, 
	finished_at_s DOUBLE, 
	stop_reason TEXT NOT NULL, 
	regret_estimate DOUBLE, 
	imported BOOLEAN DEFAULT 0 NOT NULL, 
	hidden_at_s DOUBLE, protocol VARCHAR(200) DEFAULT '' NOT NULL, holder VARCHAR(200) DEFAULT '' NOT NULL, lease_token BIGINT DEFAULT '0' NOT NULL, lease_until_s DOUBLE, lease_s DOUBLE, 
	CONSTRAINT pk_run PRIMARY KEY (id), 
	CONSTRAINT uq_run_uid UNIQUE (uid), 
	CONSTRAINT fk_run_model_digest FOREIGN KEY(model_digest) REFERENCES model (digest), 
	CONSTRAINT fk_run_target_digest FOREIGN KEY(target_digest) REFERENCES target (digest), 
	CONSTRAINT ck_run_objective CHECK (objective IN ('latency', 'energy', 'memory', 'edp'))
);
INSERT INTO "run" VALUES(1,'e718866494c60e0eab6c843c098f8ba8',X'31311DA5A5B3981F286ADC2689200D19F76B3B1C90B3A8E2D45C79C7476EB23C',X'D58F526D9EE18FAD5C6CF76C0ABC451E171912A5C484C3C68CC2B9E082B00E6D','3','latency',0,'simulator','',6,'{"regret": null, "sampler": null, "time_limit_s": null}','{}',NULL,1.79609144768598222733e+09,1.79609153250499510761e+09,'budget',1.02251131317166723752e-03,0,NULL,'one reading','process 1',1,NULL,30.0);
CREATE TABLE selector (
	workload_digest BLOB NOT NULL, 
	target_digest BLOB NOT NULL, 
	toolchain VARCHAR(100) NOT NULL, 
	objective VARCHAR(16) NOT NULL, 
	symbol VARCHAR(100) NOT NULL, 
	low BIGINT NOT NULL, 
	high BIGINT NOT NULL, 
	config TEXT NOT NULL, 
	space_digest BLOB NOT NULL, 
	measured_regret DOUBLE, 
	predicted_regret DOUBLE, 
	CONSTRAINT pk_selector PRIMARY KEY (workload_digest, target_digest, toolchain, objective, symbol, low), 
	CONSTRAINT fk_selector_workload_digest FOREIGN KEY(workload_digest) REFERENCES workload (digest), 
	CONSTRAINT fk_selector_target_digest FOREIGN KEY(target_digest) REFERENCES target (digest), 
	CONSTRAINT ck_selector_interval CHECK (low <= high)
);
CREATE TABLE target (
	digest BLOB NOT NULL, 
	name VARCHAR(200) NOT NULL, 
	text TEXT NOT NULL, 
	CONSTRAINT pk_target PRIMARY KEY (digest)
);
INSERT INTO "target" VALUES(X'D58F526D9EE18FAD5C6CF76C0ABC451E171912A5C484C3C68CC2B9E082B00E6D','ascend310','# Sources
#   ATLAS    Atlas 200 AI accelerator module data sheet: 22 TOPS int8, 11 TFLOPS fp16, LPDDR4X 51.2 GB/s
#   HC31     H. Liao et al., "DaVinci: a scalable architecture for neural network computing", Hot Chips 31, 2019
#   HPCA21   H. Liao et al., "Ascend: a scalable and unified architecture for ubiquitous deep neural network
#            computing", HPCA 2021
#   ISCA14   M. Horowitz, "Computing''s energy problem", ISSCC 2014: energy of operations at 45 nm
name = "ascend310"
description = "Huawei Ascend 310 as on Atlas 200: two Da Vinci cores, LPDDR4X"
frequency_mhz = 680               # published: ATLAS, 22 TOPS of int8 on two cubes of 8192 MACs
cores = 2                         # published: HC31
l1_kib = 1024                     # published: HPCA21
accumulator_kib = 256             # published: HPCA21
assumed = [
    "matrix.start_up_cycles", "matrix.swaps", "vector.start_up_cycles", "vector.takes_contractions",
    "llb.gbps", "llb.latency_cycles", "llb.burst_bytes", "dram.latency_cycles", "dram.burst_bytes", "dma",
    "host.latency_us", "overheads", "energy",
]

[dtypes]
f16 = "f32"                       # published: HC31
i8 = "i32"                        # published: HC31

[matrix]
kind = "cube"
joins_rows = true                 # published: HPCA21, img2col flattens pixels before they meet the cube
joins_taps = false                # published: HPCA21, channels of each tap lie in fractals of 16
swaps = false                     # assumed: both sides are 16 wide
start_up_cycles = 20              # assumed: as ascend910

[[matrix.shapes]]
dtype = "f16"
m = 16                            # published: HC31
n = 16                            # published: HC31
k = 16                            # published: HC31

[[matrix.shapes]]
dtype = "i8"
m = 16                            # published: HC31
n = 16                            # published: HC31
k = 32                            # published: HC31

[vector]
bits = 2048                       # published: HPCA21
start_up_cycles = 16              # assumed: as ascend910
takes_contractions = true         # assumed: as ascend910

[llb]
kib = 8192                        # published: Ascend 310 data sheet, 8 MiB on-chip buffer
gbps = 174                        # assumed: one 1024-bit port a core at 680 MHz
latency_cycles = 80               # assumed: a ring shorter than the mesh of ascend910
burst_bytes = 128                 # assumed: as ascend910

[dram]
kib = 8388608                     # published: ATLAS, 8 GiB
gbps = 51.2                       # published: ATLAS
latency_cycles = 120              # assumed: LPDDR4X, 180 ns
burst_bytes = 64                  # assumed: two LPDDR4X bursts of 32 bytes

[dma]
bytes_per_cycle = 128             # assumed: as ascend910
setup_cycles = 30                 # assumed: as ascend910
outstanding = 96                  # assumed: enough to fill the port at the LLB''s latency

[host]
gbps = 4                          # published: ATLAS, PCIe 3.0 x4
latency_us = 3.0                  # assumed: a small DMA over PCIe

[overheads]
launch_us = 2.0                   # assumed: the on-chip scheduler starts tasks of a loaded model, no host between
barrier_cycles = 120              # assumed: two crossings of the ring
tile_dispatch_cycles = 16         # assumed: as ascend910

[energy]
pj_per_lane_op = 1.0              # assumed: ISCA14, fp16 multiply and add at 45 nm (1.5 pJ), scaled to 12 nm
pj_per_l1_byte = 3.0              # assumed: between ISCA14 (1 MiB, 12.5 pJ) and 7 nm (1.75 pJ)
pj_per_llb_byte = 6.0             # assumed: twice L1
pj_per_dram_byte = 60.0           # assumed: LPDDR4X, 7.5 pJ a bit
pj_per_host_byte = 60.0           # assumed: 7.5 pJ a bit
static_watts = 2.0                # assumed: a quarter of the 8 W of HC31

[energy.pj_per_mac]
f16 = 1.0                         # assumed: ISCA14, fp16 multiply and add at 45 nm (1.5 pJ), scaled to 12 nm
i8 = 0.16                         # assumed: ISCA14, int8 multiply 0.2 and int32 add 0.1 at 45 nm, scaled
');
CREATE TABLE tenant (
	name VARCHAR(100) NOT NULL, 
	turn BIGINT NOT NULL, 
	CONSTRAINT pk_tenant PRIMARY KEY (name)
);
CREATE TABLE tilewright_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT tilewright_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "tilewright_version" VALUES('0008');
CREATE TABLE trial (
	id INTEGER NOT NULL, 
	run_id INTEGER NOT NULL, 
	purpose VARCHAR(16) NOT NULL, 
	number BIGINT NOT NULL, 
	attempt INTEGER NOT NULL, 
	workload_id INTEGER NOT NULL, 
	space_digest BLOB NOT NULL, 
	config_digest BLOB NOT NULL, 
	config TEXT NOT NULL, 
	status VARCHAR(16) NOT NULL, 
	reason TEXT NOT NULL, 
	latency_us DOUBLE, 
	samples_us TEXT NOT NULL, 
	latency_cycles DOUBLE, 
	energy_uj DOUBLE, 
	peak_bytes BIGINT, 
	bound_us DOUBLE, 
	seed BIGINT NOT NULL, 
	worker VARCHAR(200) NOT NULL, 
	verification VARCHAR(16) NOT NULL, 
	imported BOOLEAN DEFAULT 0 NOT NULL, 
	created_at_s DOUBLE NOT NULL, is_default BOOLEAN DEFAULT 0 NOT NULL, 
	CONSTRAINT pk_trial PRIMARY KEY (id), 
	CONSTRAINT uq_trial_run_id_purpose_number_attempt UNIQUE (run_id, purpose, number, attempt), 
	CONSTRAINT fk_trial_run_id FOREIGN KEY(run_id) REFERENCES run (id), 
	CONSTRAINT fk_trial_workload_id FOREIGN KEY(workload_id) REFERENCES workload (id), 
	CONSTRAINT ck_trial_purpose CHECK (purpose IN ('search', 'canary', 'confirmation')), 
	CONSTRAINT ck_trial_status CHECK (status IN ('ok', 'invalid', 'failed', 'wrong', 'timeout', 'lost')), 
	CONSTRAINT ck_trial_ok_has_latency CHECK ((status = 'ok') = (latency_us IS NOT NULL)), 
	CONSTRAINT ck_trial_latency CHECK (latency_us > 0 AND latency_us < 1e300), 
	CONSTRAINT ck_trial_verification CHECK (verification IN ('none', 'value-exact', 'sampled', 'foreign'))
);
INSERT INTO "trial" VALUES(1,1,'search',0,0,1,X'0000000000000000000000000000000000000000000000000000000000000000',X'248E13FA7176F0D4A327965B73740E6328D0C3F254D8280F221543A409300337','{"groups":"0 1|2","kernel_1f1bfbf7180f1a82":"{\"tile_0\":16,\"tile_1\":16,\"reduction_tile_0\":64,\"loop_order\":\"0 1\",\"load_slots\":2,\"store_slots\":2,\"cores\":2}","kernel_2a8bb56672fbd2e0":"{\"tile_0\":32,\"tile_1\":32,\"reduction_tile_0\":48,\"loop_order\":\"0 1\",\"load_slots\":2,\"accumulator_slots\":1,\"store_slots\":2,\"cores\":2}"}','ok','',5.67058823529411792918e+00,'[5.670588235294118]',3856.0,1.25587124705882366979e+01,4096,2.24,2589592214421931648,'serial','none',0,1.79609153184199333186e+09,0);
INSERT INTO "trial" VALUES(2,1,'search',1,0,2,X'70B09C397CA2032BB82A4754E355E74549E35328041FC482D2EE1C014824E8C6',X'B62C2C67B54302F83B0CA30657EF958DCCDDF89089884A9E9899ADA0D7D29B7D','{"tile_0":16,"tile_1":16,"reduction_tile_0":64,"loop_order":"0 1","load_slots":2,"store_slots":2,"tiles_in_flight":1,"cores":2}','ok','',3.00735294117647056211e+00,'[3.0073529411764706]',2045.0,7.19537788235294151206e+00,13312,2.24,8811107535233850214,'serial','none',0,1.79609153203901505471e+09,0);
INSERT INTO "trial" VALUES(3,1,'search',2,0,2,X'70B09C397CA2032BB82A4754E355E74549E35328041FC482D2EE1C014824E8C6',X'12A24E03B24B6E929473EAB75AD6C1CED6C0216ABD8DFB3F77B20CE24AA0B6E2','{"tile_0":16,"tile_1":16,"reduction_tile_0":64,"loop_order":"0 1","load_slots":3,"store_slots":2,"tiles_in_flight":1,"cores":2}','ok','',3.00735294117647056211e+00,'[3.0073529411764706]',2045.0,7.19537788235294151206e+00,14848,2.24,5463763825579782698,'serial','none',0,1.79609153205599331856e+09,0);
INSERT INTO "trial" VALUES(4,1,'search',3,0,2,X'70B09C397CA2032BB82A4754E355E74549E35328041FC482D2EE1C014824E8C6',X'AE05DE26E449575B67AC009BEB912777554B738E754FB411597EAA020AED6421','{"tile_0":16,"tile_1":16,"reduction_tile_0":64,"loop_order":"0 1","load_slots":2,"store_slots":1,"tiles_in_flight":1,"cores":2}','ok','',3.00735294117647056211e+00,'[3.0073529411764706]',2045.0,7.19537788235294151206e+00,13312,2.24,8406655608534885418,'serial','none',0,1.79609153205599331856e+09,0);
INSERT INTO "trial" VALUES(5,1,'search',4,0,2,X'70B09C397CA2032BB82A4754E355E74549E35328041FC482D2EE1C014824E8C6',X'214E03D8CC21DDECA6BE0A490A86444F45003832B01DEDF9B32FC52F95AA9674','{"tile_0":16,"tile_1":16,"reduction_tile_0":64,"loop_order":"0 1","load_slots":3,"store_slots":1,"tiles_in_flight":1,"cores":2}','ok','',3.00735294117647056211e+00,'[3.0073529411764706]',2045.0,7.19537788235294151206e+00,14848,2.24,8821450543714171832,'serial','none',0,1.79609153207598924639e+09,0);
INSERT INTO "trial" VALUES(6,1,'search',5,0,2,X'70B09C397CA2032BB82A4754E355E74549E35328041FC482D2EE1C014824E8C6',X'1B87F6E916624DBAB9D54C6BA447611B09D72B04BBDE0F6142749C8192FE6E2E','{"tile_0":32,"tile_1":8,"reduction_tile_0":64,"loop_order":"0 1","load_slots":2,"store_slots":2,"tiles_in_flight":1,"cores":2}','ok','',3.1,'[3.1]',2108.0,7.55475200000000057798e+00,15360,2.24,4359025834097295278,'serial','none',0,1.79609153209699106213e+09,0);
INSERT INTO "trial" VALUES(7,1,'search',6,0,2,X'70B09C397CA2032BB82A4754E355E74549E35328041FC482D2EE1C014824E8C6',X'8C25EB879B6088BB0899F98E46E8DC535F9E3B488D1A0E2D26CA080A78CF4D6B','{"tile_0":8,"tile_1":16,"reduction_tile_0":64,"loop_order":"0 1","load_slots":2,"store_slots":2,"tiles_in_flight":1,"cores":2}','ok','',3.11911764705882355031e+00,'[3.1191176470588236]',2121.0,7.46805929411764690684e+00,10752,2.24,8701505550347094088,'serial','none',0,1.79609153209699106213e+09,0);
INSERT INTO "trial" VALUES(8,1,'search',7,0,1,X'0000000000000000000000000000000000000000000000000000000000000000',X'6A54C8682914EB4B3158838140F1E56353FB43C713057105705FF1B69CE4812F','{"groups":"0 1 2","kernel_721088aecb289685":"{\"tile_0\":16,\"tile_1\":16,\"reduction_tile_0\":64,\"loop_order\":\"0 1\",\"load_slots\":3,\"store_slots\":2,\"tiles_in_flight\":1,\"cores\":2}"}','ok','',3.00735294117647056211e+00,'[3.0073529411764706]',2045.0,7.19537788235294151206e+00,0,2.24,6003122948566258916,'serial','none',0,1.79609153225699806209e+09,0);
INSERT INTO "trial" VALUES(9,1,'confirmation',0,0,2,X'70B09C397CA2032BB82A4754E355E74549E35328041FC482D2EE1C014824E8C6',X'B62C2C67B54302F83B0CA30657EF958DCCDDF89089884A9E9899ADA0D7D29B7D','{"tile_0":16,"tile_1":16,"reduction_tile_0":64,"loop_order":"0 1","load_slots":2,"store_slots":2,"tiles_in_flight":1,"cores":2}','ok','',3.00735294117647056211e+00,'[3.0073529411764706]',2045.0,7.19537788235294151206e+00,13312,2.24,2589592214421931648,'serial','none',0,1.79609153227099919321e+09,1);
INSERT INTO "trial" VALUES(10,1,'confirmation',1,0,2,X'70B09C397CA2032BB82A4754E355E74549E35328041FC482D2EE1C014824E8C6',X'B62C2C67B54302F83B0CA30657EF958DCCDDF89089884A9E9899ADA0D7D29B7D','{"tile_0":16,"tile_1":16,"reduction_tile_0":64,"loop_order":"0 1","load_slots":2,"store_slots":2,"tiles_in_flight":1,"cores":2}','ok','',3.00735294117647056211e+00,'[3.0073529411764706]',2045.0,7.19537788235294151206e+00,13312,2.24,8811107535233850214,'serial','none',0,1.79609153227099919321e+09,1);
INSERT INTO "trial" VALUES(11,1,'confirmation',2,0,2,X'70B09C397CA2032BB82A4754E355E74549E35328041FC482D2EE1C014824E8C6',X'B62C2C67B54302F83B0CA30657EF958DCCDDF89089884A9E9899ADA0D7D29B7D','{"tile_0":16,"tile_1":16,"reduction_tile_0":64,"loop_order":"0 1","load_slots":2,"store_slots":2,"tiles_in_flight":1,"cores":2}','ok','',3.00735294117647056211e+00,'[3.0073529411764706]',2045.0,7.19537788235294151206e+00,13312,2.24,5463763825579782698,'serial','none',0,1.79609153227099919321e+09,1);
INSERT INTO "trial" VALUES(12,1,'confirmation',3,0,2,X'70B09C397CA2032BB82A4754E355E74549E35328041FC482D2EE1C014824E8C6',X'12A24E03B24B6E929473EAB75AD6C1CED6C0216ABD8DFB3F77B20CE24AA0B6E2','{"tile_0":16,"tile_1":16,"reduction_tile_0":64,"loop_order":"0 1","load_slots":3,"store_slots":2,"tiles_in_flight":1,"cores":2}','ok','',3.00735294117647056211e+00,'[3.0073529411764706]',2045.0,7.19537788235294151206e+00,14848,2.24,8406655608534885418,'serial','value-exact',0,1.79609153229099512095e+09,0);
INSERT INTO "trial" VALUES(13,1,'confirmation',4,0,2,X'70B09C397CA2032BB82A4754E355E74549E35328041FC482D2EE1C014824E8C6',X'12A24E03B24B6E929473EAB75AD6C1CED6C0216ABD8DFB3F77B20CE24AA0B6E2','{"tile_0":16,"tile_1":16,"reduction_tile_0":64,"loop_order":"0 1","load_slots":3,"store_slots":2,"tiles_in_flight":1,"cores":2}','ok','',3.00735294117647056211e+00,'[3.0073529411764706]',2045.0,7.19537788235294151206e+00,14848,2.24,8821450543714171832,'serial','value-exact',0,1.79609153229099512095e+09,0);
INSERT INTO "trial" VALUES(14,1,'confirmation',5,0,2,X'70B09C397CA2032BB82A4754E355E74549E35328041FC482D2EE1C014824E8C6',X'12A24E03B24B6E929473EAB75AD6C1CED6C0216ABD8DFB3F77B20CE24AA0B6E2','{"tile_0":16,"tile_1":16,"reduction_tile_0":64,"loop_order":"0 1","load_slots":3,"store_slots":2,"tiles_in_flight":1,"cores":2}','ok','',3.00735294117647056211e+00,'[3.0073529411764706]',2045.0,7.19537788235294151206e+00,14848,2.24,4359025834097295278,'serial','value-exact',0,1.79609153229099512095e+09,0);
INSERT INTO "trial" VALUES(15,1,'confirmation',6,0,1,X'0000000000000000000000000000000000000000000000000000000000000000',X'248E13FA7176F0D4A327965B73740E6328D0C3F254D8280F221543A409300337','{"groups":"0 1|2","kernel_1f1bfbf7180f1a82":"{\"tile_0\":16,\"tile_1\":16,\"reduction_tile_0\":64,\"loop_order\":\"0 1\",\"load_slots\":2,\"store_slots\":2,\"cores\":2}","kernel_2a8bb56672fbd2e0":"{\"tile_0\":32,\"tile_1\":32,\"reduction_tile_0\":48,\"loop_order\":\"0 1\",\"load_slots\":2,\"accumulator_slots\":1,\"store_slots\":2,\"cores\":2}"}','ok','',5.67058823529411792918e+00,'[5.670588235294118]',3856.0,1.25587124705882366979e+01,4096,2.24,8701505550347094088,'serial','none',0,1.79609153247300982469e+09,1);
INSERT INTO "trial" VALUES(16,1,'confirmation',7,0,1,X'0000000000000000000000000000000000000000000000000000000000000000',X'248E13FA7176F0D4A327965B73740E6328D0C3F254D8280F221543A409300337','{"groups":"0 1|2","kernel_1f1bfbf7180f1a82":"{\"tile_0\":16,\"tile_1\":16,\"reduction_tile_0\":64,\"loop_order\":\"0 1\",\"load_slots\":2,\"store_slots\":2,\"cores\":2}","kernel_2a8bb56672fbd2e0":"{\"tile_0\":32,\"tile_1\":32,\"reduction_tile_0\":48,\"loop_order\":\"0 1\",\"load_slots\":2,\"accumulator_slots\":1,\"store_slots\":2,\"cores\":2}"}','ok','',5.67058823529411792918e+00,'[5.670588235294118]',3856.0,1.25587124705882366979e+01,4096,2.24,6003122948566258916,'serial','none',0,1.79609153247300982469e+09,1);
INSERT INTO "trial" VALUES(17,1,'confirmation',8,0,1,X'0000000000000000000000000000000000000000000000000000000000000000',X'248E13FA7176F0D4A327965B73740E6328D0C3F254D8280F221543A409300337','{"groups":"0 1|2","kernel_1f1bfbf7180f1a82":"{\"tile_0\":16,\"tile_1\":16,\"reduction_tile_0\":64,\"loop_order\":\"0 1\",\"load_slots\":2,\"store_slots\":2,\"cores\":2}","kernel_2a8bb56672fbd2e0":"{\"tile_0\":32,\"tile_1\":32,\"reduction_tile_0\":48,\"loop_order\":\"0 1\",\"load_slots\":2,\"accumulator_slots\":1,\"store_slots\":2,\"cores\":2}"}','ok','',5.67058823529411792918e+00,'[5.670588235294118]',3856.0,1.25587124705882366979e+01,4096,2.24,5339154554316903879,'serial','none',0,1.79609153247300982469e+09,1);
INSERT INTO "trial" VALUES(18,1,'confirmation',9,0,1,X'0000000000000000000000000000000000000000000000000000000000000000',X'6A54C8682914EB4B3158838140F1E56353FB43C713057105705FF1B69CE4812F','{"groups":"0 1 2","kernel_721088aecb289685":"{\"tile_0\":16,\"tile_1\":16,\"reduction_tile_0\":64,\"loop_order\":\"0 1\",\"load_slots\":3,\"store_slots\":2,\"tiles_in_flight\":1,\"cores\":2}"}','ok','',3.00735294117647056211e+00,'[3.0073529411764706]',2045.0,7.19537788235294151206e+00,0,2.24,5901829864426895249,'serial','value-exact',0,1.79609153248198175423e+09,0);
INSERT INTO "trial" VALUES(19,1,'confirmation',10,0,1,X'0000000000000000000000000000000000000000000000000000000000000000',X'6A54C8682914EB4B3158838140F1E56353FB43C713057105705FF1B69CE4812F','{"groups":"0 1 2","kernel_721088aecb289685":"{\"tile_0\":16,\"tile_1\":16,\"reduction_tile_0\":64,\"loop_order\":\"0 1\",\"load_slots\":3,\"store_slots\":2,\"tiles_in_flight\":1,\"cores\":2}"}','ok','',3.00735294117647056211e+00,'[3.0073529411764706]',2045.0,7.19537788235294151206e+00,0,2.24,6571262500854338078,'serial','value-exact',0,1.79609153248198175423e+09,0);
INSERT INTO "trial" VALUES(20,1,'confirmation',11,0,1,X'0000000000000000000000000000000000000000000000000000000000000000',X'6A54C8682914EB4B3158838140F1E56353FB43C713057105705FF1B69CE4812F','{"groups":"0 1 2","kernel_721088aecb289685":"{\"tile_0\":16,\"tile_1\":16,\"reduction_tile_0\":64,\"loop_order\":\"0 1\",\"load_slots\":3,\"store_slots\":2,\"tiles_in_flight\":1,\"cores\":2}"}','ok','',3.00735294117647056211e+00,'[3.0073529411764706]',2045.0,7.19537788235294151206e+00,0,2.24,1635391157808242663,'serial','value-exact',0,1.79609153248198175423e+09,0);
CREATE TABLE upload (
	digest BLOB NOT NULL, 
	size_bytes BIGINT NOT NULL, symbols TEXT, kept BOOLEAN DEFAULT 1 NOT NULL, used_at_s DOUBLE DEFAULT '0' NOT NULL, 
	CONSTRAINT pk_upload PRIMARY KEY (digest)
);
CREATE TABLE upload_part (
	digest BLOB NOT NULL, 
	number INTEGER NOT NULL, 
	content BLOB NOT NULL, 
	CONSTRAINT pk_upload_part PRIMARY KEY (digest, number), 
	CONSTRAINT fk_upload_part_digest FOREIGN KEY(digest) REFERENCES upload (digest)
);
CREATE TABLE worker (
	name VARCHAR(200) NOT NULL, 
	device VARCHAR(200) NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	reason TEXT NOT NULL, 
	first_seen_at_s DOUBLE NOT NULL, 
	last_seen_at_s DOUBLE NOT NULL, 
	CONSTRAINT pk_worker PRIMARY KEY (name), 
	CONSTRAINT ck_worker_state CHECK (state IN ('healthy', 'quarantined'))
);
INSERT INTO "worker" VALUES('serial','simulator','healthy','',1.79609153203998064994e+09,1.79609153209699106213e+09);
CREATE TABLE workload (
	id INTEGER NOT NULL, 
	digest BLOB NOT NULL, 
	family_digest BLOB NOT NULL, 
	skeleton_digest BLOB NOT NULL, 
	kind VARCHAR(16) NOT NULL, 
	placement TEXT NOT NULL, 
	body TEXT NOT NULL, first_half_digest BLOB, second_half_digest BLOB, 
	CONSTRAINT pk_workload PRIMARY KEY (id), 
	CONSTRAINT uq_workload_digest UNIQUE (digest), 
	CONSTRAINT ck_workload_kind CHECK (kind IN ('kernel', 'graph', 'foreign'))
);
INSERT INTO "workload" VALUES(1,X'31311DA5A5B3981F286ADC2689200D19F76B3B1C90B3A8E2D45C79C7476EB23C',X'31311DA5A5B3981F286ADC2689200D19F76B3B1C90B3A8E2D45C79C7476EB23C',X'EB62F7C85B45F4386B724429900145C6C66A4ECEC909EAC9FB1AAA7D51C6D31F','graph','[]','{"constants":[1,4],"inputs":[0],"ops":[{"attributes":[],"axes":"ppr","domain":[32,64,48],"kind":"contract","operands":[[0,null,[[[[0,1]],0,1,0,-1],[[[2,1]],0,1,0,-1]]],[1,null,[[[[2,1]],0,1,0,-1],[[[1,1]],0,1,0,-1]]]],"result":2},{"attributes":[],"axes":"pp","domain":[32,64],"kind":"relu","operands":[[2,null,[[[[0,1]],0,1,0,-1],[[[1,1]],0,1,0,-1]]]],"result":3},{"attributes":[],"axes":"ppr","domain":[32,16,64],"kind":"contract","operands":[[3,null,[[[[0,1]],0,1,0,-1],[[[2,1]],0,1,0,-1]]],[4,null,[[[[2,1]],0,1,0,-1],[[[1,1]],0,1,0,-1]]]],"result":5}],"outputs":[5],"values":[["f32",32,48],["f32",48,64],["f32",32,64],["f32",32,64],["f32",64,16],["f32",32,16]]}',X'B7B16AED718B17CF82BD4B279B2D52AED738D1AC1965AD6C1F50878C13A7DD6C',X'A20DCD79848286B9AD92E45F838DB455650E2D43432D6250E3927666FF446873');
INSERT INTO "workload" VALUES(2,X'721088AECB28968508032155EE563598DB86DAB438E8455CEA3EBBD706A0E143',X'7BC90DD5DB3CFDFD736E261575FA92F886356DB8767C7F758AAA77FB534531D0',X'4A5045A06F8C7D972489CE80232C231B2B5F0362FE1599AF9DC5C1FD3E4EC779','kernel','["dram","constant","constant","dram"]','{"graph":{"constants":[],"inputs":[0,1,4],"ops":[{"attributes":[],"axes":"ppr","domain":[32,64,48],"kind":"contract","operands":[[0,null,[[[[0,1]],0,1,0,-1],[[[2,1]],0,1,0,-1]]],[1,null,[[[[2,1]],0,1,0,-1],[[[1,1]],0,1,0,-1]]]],"result":2},{"attributes":[],"axes":"pp","domain":[32,64],"kind":"relu","operands":[[2,null,[[[[0,1]],0,1,0,-1],[[[1,1]],0,1,0,-1]]]],"result":3},{"attributes":[],"axes":"ppr","domain":[32,16,64],"kind":"contract","operands":[[3,null,[[[[0,1]],0,1,0,-1],[[[2,1]],0,1,0,-1]]],[4,null,[[[[2,1]],0,1,0,-1],[[[1,1]],0,1,0,-1]]]],"result":5}],"outputs":[5],"values":[["f32",32,48],["f32",48,64],["f32",32,64],["f32",32,64],["f32",64,16],["f32",32,16]]},"levels":["dram","constant","constant","dram"]}',X'41EB40E35EDECB4A4257C36F8CC1948EE69C58846D029672ACA6C38BA0741E4C',X'F6FC493F8AAD2B0795126B8BAEE78E40C42223009ED69DCADEB6ECFBFA881997');
CREATE INDEX ix_workload_family_digest ON workload (family_digest);
CREATE INDEX ix_workload_skeleton_digest ON workload (skeleton_digest);
CREATE INDEX ix_run_model_digest ON run (model_digest);
CREATE INDEX ix_run_target_digest ON run (target_digest);
CREATE INDEX ix_run_job ON run (job);
CREATE INDEX ix_trial_workload_id ON trial (workload_id);
CREATE INDEX ix_effort_workload_id ON effort (workload_id);
CREATE TRIGGER trial_no_update BEFORE UPDATE ON trial BEGIN SELECT RAISE(ABORT, 'trials are append-only'); END;
CREATE TRIGGER trial_no_delete BEFORE DELETE ON trial BEGIN SELECT RAISE(ABORT, 'trials are append-only'); END;
CREATE INDEX ix_job_tenant ON job (tenant);
CREATE INDEX ix_job_state ON job (state);
CREATE INDEX ix_workload_first_half_digest ON workload (first_half_digest);
CREATE INDEX ix_workload_second_half_digest ON workload (second_half_digest);
COMMIT;
